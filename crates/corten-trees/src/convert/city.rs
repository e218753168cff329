//! The hash by which CatBoost knows a category: the low half of CityHash64 (version 1.0, G. Pike and J. Alakuijala).

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

fn half(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u64::from(u32::from_le_bytes(out))
}

fn mixed(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn both(low: u64, high: u64) -> u64 {
    const M: u64 = 0x9ddf_ea08_eb38_2d69;
    let a = mixed((low ^ high).wrapping_mul(M));
    mixed((high ^ a).wrapping_mul(M)).wrapping_mul(M)
}

fn up_to_16(s: &[u8]) -> u64 {
    let n = s.len();
    match n {
        9.. => {
            let (a, b) = (word(s, 0), word(s, n - 8));
            both(a, b.wrapping_add(n as u64).rotate_right(n as u32)) ^ b
        }
        4.. => both((n as u64).wrapping_add(half(s, 0) << 3), half(s, n - 4)),
        1.. => {
            let (a, b, c) = (u64::from(s[0]), u64::from(s[n >> 1]), u64::from(s[n - 1]));
            let (y, z) = (a.wrapping_add(b << 8), (n as u64).wrapping_add(c << 2));
            mixed(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
        }
        0 => K2,
    }
}

fn up_to_32(s: &[u8]) -> u64 {
    let n = s.len();
    let a = word(s, 0).wrapping_mul(K1);
    let b = word(s, 8);
    let c = word(s, n - 8).wrapping_mul(K2);
    let d = word(s, n - 16).wrapping_mul(K0);
    both(
        a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d),
        a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c).wrapping_add(n as u64),
    )
}

fn weak(w: u64, x: u64, y: u64, z: u64, mut a: u64, mut b: u64) -> (u64, u64) {
    a = a.wrapping_add(w);
    b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let c = a;
    a = a.wrapping_add(x).wrapping_add(y);
    b = b.wrapping_add(a.rotate_right(44));
    (a.wrapping_add(z), b.wrapping_add(c))
}

fn weak_of(s: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    weak(word(s, at), word(s, at + 8), word(s, at + 16), word(s, at + 24), a, b)
}

fn up_to_64(s: &[u8]) -> u64 {
    let n = s.len();
    let mut z = word(s, 24);
    let mut a = word(s, 0).wrapping_add((n as u64).wrapping_add(word(s, n - 16)).wrapping_mul(K0));
    let mut b = a.wrapping_add(z).rotate_right(52);
    let mut c = a.rotate_right(37);
    a = a.wrapping_add(word(s, 8));
    c = c.wrapping_add(a.rotate_right(7));
    a = a.wrapping_add(word(s, 16));
    let (vf, vs) = (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c));
    a = word(s, 16).wrapping_add(word(s, n - 32));
    z = word(s, n - 8);
    b = a.wrapping_add(z).rotate_right(52);
    c = a.rotate_right(37);
    a = a.wrapping_add(word(s, n - 24));
    c = c.wrapping_add(a.rotate_right(7));
    a = a.wrapping_add(word(s, n - 16));
    let (wf, ws) = (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c));
    let r = mixed(vf.wrapping_add(ws).wrapping_mul(K2).wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0)));
    mixed(r.wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

fn city64(s: &[u8]) -> u64 {
    let n = s.len();
    match n {
        0..=16 => return up_to_16(s),
        17..=32 => return up_to_32(s),
        33..=64 => return up_to_64(s),
        _ => {}
    }
    let mut x = word(s, 0);
    let mut y = word(s, n - 16) ^ K1;
    let mut z = word(s, n - 56) ^ K0;
    let mut v = weak_of(s, n - 64, n as u64, y);
    let mut w = weak_of(s, n - 32, (n as u64).wrapping_mul(K1), K0);
    z = z.wrapping_add(mixed(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(n - 1) / 64).map(|block| block * 64) {
        x = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(word(s, at + 16)).rotate_right(37).wrapping_mul(K1);
        y = y.wrapping_add(v.1).wrapping_add(word(s, at + 48)).rotate_right(42).wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak_of(s, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak_of(s, at + 32, z.wrapping_add(w.1), y);
        core::mem::swap(&mut z, &mut x);
    }
    both(both(v.0, w.0).wrapping_add(mixed(y).wrapping_mul(K1)).wrapping_add(z), both(v.1, w.1).wrapping_add(x))
}

/// The hash of a category's text, as a signed number.
pub(crate) fn hash_of_category(text: &str) -> i32 {
    city64(text.as_bytes()) as u32 as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each way of hashing, texts and the hashes that CatBoost 1.2 wrote into models of them.
    #[test]
    fn hashes_are_catboosts() {
        let known = [
            ("u", 1_981_898_051),
            ("other", 1_296_376_507),
            ("a longer category", 1_987_323_693),
            ("xxxxxxxxxxxxxxxxxxxx", 1_535_485_831),
            ("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 1_987_559_912),
        ];
        for (text, hash) in known {
            assert_eq!(hash_of_category(text), hash, "{text}");
        }
    }
}
