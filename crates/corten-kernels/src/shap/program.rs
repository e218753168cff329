//! One tree as the list of its edges in the order in which they are visited.

use alloc::vec::Vec;

use super::Game;
use crate::trees::CATEGORY;

/// No step of that kind.
const NONE: u32 = u32::MAX;

/// An edge from a node to a child. Depths number the places on the way from the root, whose own place is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Place of the parent; the child's is the next one.
    pub(super) depth: u32,
    /// The parent.
    pub(super) node: u32,
    /// The parent's code column and threshold.
    pub(super) column: u16,
    pub(super) threshold: u16,
    pub(super) category: bool,
    /// Whether it leads to the right child.
    pub(super) right: bool,
    /// Whether it is the first of the parent's two edges here.
    pub(super) first: bool,
    /// Who decides at the parent.
    pub(super) player: u32,
    /// Place of the last edge above with the same player; 0 where there is none.
    pub(super) previous: u32,
    /// That edge's step, where there is one.
    pub(super) before: u32,
    /// Of a leaf its place in the leaves, else [`Step::is_leaf`] does not hold.
    leaf: u32,
    /// How many edges above end with this one.
    pub(super) ups: u32,
    /// Share of the training weight that the player's edges down to this one let through, and without this one.
    pub(super) share: f64,
    pub(super) share_before: f64,
}

impl Step {
    pub(super) fn is_leaf(&self) -> bool {
        self.leaf != NONE
    }

    /// Place of a leaf in the leaves.
    pub(super) fn leaf(&self) -> usize {
        self.leaf as usize
    }
}

/// A player on the way to a leaf: its last edge there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) player: u32,
    /// Place of the edge's child.
    pub(super) place: u32,
    pub(super) share: f64,
}

/// A tree, written anew for each tree in the same memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Most places on a way.
    pub(super) places: usize,
    /// Most players on a way.
    pub(super) players: usize,
    /// The players on the way to each leaf, leaf after leaf, with the end of each leaf's; only if asked for.
    pub(super) visits: Vec<Visit>,
    pub(super) visit_ends: Vec<u32>,
    /// Last edge of each player on the way at hand: 0 or place.
    last: Vec<u32>,
    way: Vec<Open>,
}

/// A node on the way at hand.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: u32,
    /// Children in the order of visits: node and whether it is the right one.
    children: [(u32, bool); 2],
    done: u8,
    /// Step of the edge that led here.
    step: u32,
    /// Distinct players so far.
    players: u32,
}

impl Program {
    /// Writes a tree.
    pub(super) fn write(&mut self, game: &Game<'_>, tree: usize, visits: bool) {
        let parts = game.forest.parts();
        self.steps.clear();
        self.visits.clear();
        self.visit_ends.clear();
        (self.places, self.players) = (1, 1);
        self.last.clear();
        self.last.resize(game.outcomes, 0);
        let root = parts.roots[tree];
        if is_leaf(game, root) {
            return;
        }
        let mut way = core::mem::take(&mut self.way);
        way.push(open(game, root, NONE, 0));
        while let Some(top) = way.last_mut() {
            if top.done == 2 {
                let ended = top.step as usize;
                way.pop();
                if let Some(&Step { player, previous, .. }) = self.steps.get(ended) {
                    self.last[player as usize] = previous;
                    // The edge that led here ends with the last one below it.
                    if let Some(last) = self.steps.last_mut() {
                        last.ups += 1;
                    }
                }
                continue;
            }
            let Open { node, children, done, mut players, .. } = *top;
            top.done += 1;
            let (child, right) = children[usize::from(done)];
            let own = game.forest.node(node as usize);
            let column = own.column & !CATEGORY;
            let player = game.players[usize::from(column)];
            let previous = self.last[player as usize];
            players += u32::from(previous == 0);
            let above = if previous == 0 { NONE } else { way[previous as usize].step };
            let before = self.steps.get(above as usize).map_or(1.0, |s| s.share);
            let ratio = game.ratio(node, child);
            let depth = way.len() as u32 - 1;
            self.places = self.places.max(way.len() + 1);
            self.players = self.players.max(players as usize);
            let leaf = if is_leaf(game, child) { parts.payload[child as usize] } else { NONE };
            self.steps.push(Step {
                depth,
                node,
                column,
                threshold: own.threshold,
                category: own.column & CATEGORY != 0,
                right,
                first: done == 0,
                player,
                previous,
                before: above,
                leaf,
                ups: 0,
                share: before * ratio,
                share_before: before,
            });
            let step = self.steps.len() as u32 - 1;
            if leaf == NONE {
                self.last[player as usize] = depth + 1;
                way.push(open(game, child, step, players));
            } else if visits {
                self.visit(&way, step);
            }
        }
        self.way = way;
    }

    /// Lists the players on the way to a leaf, the last edge first.
    fn visit(&mut self, way: &[Open], leaf: u32) {
        let start = self.visits.len();
        let edges = core::iter::once(leaf).chain(way[1..].iter().rev().map(|o| o.step));
        for at in edges {
            let Step { player, depth, share, .. } = self.steps[at as usize];
            if self.visits[start..].iter().all(|v| v.player != player) {
                self.visits.push(Visit { player, place: depth + 1, share });
            }
        }
        self.visit_ends.push(self.visits.len() as u32);
    }
}

fn is_leaf(game: &Game<'_>, node: u32) -> bool {
    game.forest.node(node as usize).left == node
}

fn open(game: &Game<'_>, node: u32, step: u32, players: u32) -> Open {
    let left = game.forest.node(node as usize).left;
    let (a, b) = ((left, false), (left + 1, true));
    // A leaf first: it is done at once.
    let children = if !is_leaf(game, left) && is_leaf(game, left + 1) { [b, a] } else { [a, b] };
    Open { node, children, done: 0, step, players }
}
