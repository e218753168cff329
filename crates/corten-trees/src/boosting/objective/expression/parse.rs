//! From the text of a loss to steps on a stack.

use super::{Function, Order, STACK, Step};

/// Deepest nesting.
const DEEPEST: usize = 64;

const FUNCTIONS: [(&str, Function); 10] = [
    ("exp", Function::Exp),
    ("expm1", Function::Expm1),
    ("log", Function::Log),
    ("log1p", Function::Log1p),
    ("sqrt", Function::Sqrt),
    ("abs", Function::Abs),
    ("tanh", Function::Tanh),
    ("sigmoid", Function::Sigmoid),
    ("softplus", Function::Softplus),
    ("square", Function::Square),
];

type Read = Result<(), String>;

/// The steps of an expression.
///
/// # Errors
/// The place that can't be read, and what may stand there.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, steps: Vec::new(), depth: 0, height: 0 };
    parser.comparison()?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.problem("an operator or the end"));
    }
    Ok(parser.steps)
}

/// Reads Python's operators with Python's precedence.
struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    steps: Vec<Step>,
    depth: usize,
    height: usize,
}

impl Parser<'_> {
    fn problem(&self, wanted: &str) -> String {
        let rest = String::from_utf8_lossy(&self.text[self.at.min(self.text.len())..]);
        let found: String = rest.chars().take(12).collect();
        let found = if found.is_empty() { "its end came".into() } else { format!("{found:?} came") };
        format!("{wanted} was expected at character {}, but {found}", self.at + 1)
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Takes a sign, if it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        self.space();
        let there = self.text[self.at..].starts_with(sign.as_bytes());
        if there {
            self.at += sign.len();
        }
        there
    }

    fn push(&mut self, step: Step) -> Read {
        self.height = match step {
            Step::Y | Step::Score | Step::Constant(_) => self.height + 1,
            Step::Negate | Step::Function(_) => self.height,
            Step::Where => self.height - 2,
            _ => self.height - 1,
        };
        if self.height > STACK {
            return Err(format!("at most {STACK} numbers may wait for their operators"));
        }
        self.steps.push(step);
        Ok(())
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("at most {DEEPEST} levels"));
        }
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn comparison(&mut self) -> Read {
        self.sum()?;
        let orders = [
            ("<=", Order::LessEqual),
            (">=", Order::GreaterEqual),
            ("==", Order::Equal),
            ("!=", Order::Unequal),
            ("<", Order::Less),
            (">", Order::Greater),
        ];
        if let Some(&(_, order)) = orders.iter().find(|o| self.sign(o.0)) {
            self.sum()?;
            self.push(Step::Compare(order))?;
        }
        Ok(())
    }

    fn sum(&mut self) -> Read {
        self.product()?;
        loop {
            let step = if self.sign("+") {
                Step::Add
            } else if self.sign("-") {
                Step::Subtract
            } else {
                return Ok(());
            };
            self.product()?;
            self.push(step)?;
        }
    }

    fn product(&mut self) -> Read {
        self.signed()?;
        loop {
            self.space();
            if self.text[self.at..].starts_with(b"**") {
                return Ok(());
            }
            let step = if self.sign("*") {
                Step::Multiply
            } else if self.sign("/") {
                Step::Divide
            } else {
                return Ok(());
            };
            self.signed()?;
            self.push(step)?;
        }
    }

    fn signed(&mut self) -> Read {
        if self.sign("-") {
            self.deeper(Self::signed)?;
            return self.push(Step::Negate);
        }
        if self.sign("+") {
            return self.deeper(Self::signed);
        }
        self.atom()?;
        if self.sign("**") {
            // Binds to its right first, signs included.
            self.deeper(Self::signed)?;
            self.push(Step::Power)?;
        }
        Ok(())
    }

    fn atom(&mut self) -> Read {
        if self.sign("(") {
            self.deeper(Self::comparison)?;
            return if self.sign(")") { Ok(()) } else { Err(self.problem("')'")) };
        }
        let start = self.at;
        let rest = &self.text[start..];
        if rest.first().is_some_and(|c| c.is_ascii_digit() || *c == b'.') {
            let is_part = |i: usize| {
                let c = rest[i];
                c.is_ascii_digit()
                    || c == b'.'
                    || matches!(c, b'e' | b'E')
                    || (matches!(c, b'+' | b'-') && matches!(rest[i - 1], b'e' | b'E'))
            };
            let len = (1..rest.len()).take_while(|&i| is_part(i)).count() + 1;
            let number = std::str::from_utf8(&rest[..len]).ok().and_then(|t| t.parse::<f64>().ok());
            let number = number.filter(|n| n.is_finite()).ok_or_else(|| self.problem("a number"))?;
            self.at += len;
            return self.push(Step::Constant(number));
        }
        let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
        let name = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len;
        let (step, arguments) = match name.as_str() {
            "y" | "y_true" => return self.push(Step::Y),
            "score" => return self.push(Step::Score),
            "pi" => return self.push(Step::Constant(std::f64::consts::PI)),
            "min" => (Step::Minimum, 2),
            "max" => (Step::Maximum, 2),
            "where" => (Step::Where, 3),
            _ => match FUNCTIONS.iter().find(|f| f.0 == name) {
                Some(&(_, function)) => (Step::Function(function), 1),
                None => {
                    self.at = start;
                    let names: Vec<&str> = FUNCTIONS.iter().map(|f| f.0).collect();
                    return Err(
                        self.problem(&format!("y, score, a number or one of {}, min, max, where", names.join(", ")))
                    );
                }
            },
        };
        if !self.sign("(") {
            return Err(self.problem(&format!("'(' after {name}")));
        }
        for i in 0..arguments {
            if i > 0 && !self.sign(",") {
                return Err(self.problem(&format!("',': {name} takes {arguments}")));
            }
            self.deeper(Self::comparison)?;
        }
        if !self.sign(")") {
            return Err(self.problem("')'"));
        }
        self.push(step)
    }
}
