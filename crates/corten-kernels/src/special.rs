//! Exponentials, logarithms and their kin, in one place for every platform.
//!
//! glibc, musl, wasm and a microcontroller's library differ in the last bits; these functions do not, since they are
//! plain arithmetic. The reductions and polynomials are those of FreeBSD's msun (Sun Microsystems, 1993). Tests hold `exp`
//! and `ln` within one unit in the last place of the platform's, `expm1`, `log1p` and `tanh` within two.

const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const INV_LN2: f64 = core::f64::consts::LOG2_E;

/// `2^k` for a normal result.
#[inline]
fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

/// `x * 2^k`, also where the result is not a normal number.
#[inline]
fn scale(x: f64, k: i32) -> f64 {
    if (-1021..=1023).contains(&k) {
        x * power_of_two(k)
    } else if k > 1023 {
        x * power_of_two(1023) * power_of_two((k - 1023).min(1023))
    } else {
        // Two exact steps, then one that rounds.
        x * power_of_two(-969) * power_of_two((k + 969).max(-1021))
    }
}

/// The nearest integer of a number well within `i32`.
#[inline]
fn nearest(x: f64) -> i32 {
    (x + if x < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// `e^x`.
#[inline]
pub fn exp(x: f64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    if x.is_nan() {
        return x;
    }
    if x > 709.782_712_893_384 {
        return f64::INFINITY;
    }
    if x < -745.133_219_101_941_1 {
        return 0.0;
    }
    let k = nearest(x * INV_LN2);
    let kf = f64::from(k);
    let (high, low) = (x - kf * LN2_HIGH, kf * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 + (r * c / (2.0 - c) - low + high);
    if k == 0 { y } else { scale(y, k) }
}

/// The natural logarithm; NaN below 0, `-inf` at 0.
#[inline]
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x <= 0.0 {
        return if x == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
    }
    ln_of_positive(x)
}

/// [`ln`] of finite numbers above 0, without branches, so that loops of it are done side by side.
#[inline(always)]
pub fn ln_of_positive(x: f64) -> f64 {
    let is_small = x < f64::MIN_POSITIVE;
    let bits = (if is_small { x * power_of_two(54) } else { x }).to_bits();
    // The mantissa between sqrt(2)/2 and sqrt(2).
    let mut high = (bits >> 32) as u32;
    high = high.wrapping_add(0x3ff0_0000 - 0x3fe6_a09e);
    let k = (high >> 20) as i32 - 1023 - if is_small { 54 } else { 0 };
    high = (high & 0x000f_ffff) + 0x3fe6_a09e;
    let f = f64::from_bits(u64::from(high) << 32 | bits & 0xffff_ffff) - 1.0;
    let half = 0.5 * f * f;
    let s = f / (2.0 + f);
    let tail = log_tail(s);
    let kf = f64::from(k);
    s * (half + tail) + kf * LN2_LOW - half + f + kf * LN2_HIGH
}

/// `log(1 + f) - 2 s` over `s` for `s = f / (2 + f)`, without its quadratic part.
#[inline]
fn log_tail(s: f64) -> f64 {
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let z = s * s;
    let w = z * z;
    let even = w * (L[1] + w * (L[3] + w * L[5]));
    let odd = z * (L[0] + w * (L[2] + w * (L[4] + w * L[6])));
    odd + even
}

/// `ln(1 + x)`, exact for small `x` too.
#[inline]
pub fn log1p(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x <= -1.0 {
        return if x == -1.0 { f64::NEG_INFINITY } else { f64::NAN };
    }
    if x > -1.1e-16 && x < 1.1e-16 {
        return x;
    }
    let u = 1.0 + x;
    // What rounding 1 + x lost, relative to it.
    let lost = if u >= 2.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    ln(u) + lost / u
}

/// `e^x - 1`, exact for small `x` too.
#[inline]
pub fn expm1(x: f64) -> f64 {
    const Q: [f64; 5] = [
        -3.333_333_333_333_313e-2,
        1.587_301_587_254_814_6e-3,
        -7.936_507_578_674_88e-5,
        4.008_217_827_329_362e-6,
        -2.010_992_181_836_243_7e-7,
    ];
    if x.is_nan() {
        return x;
    }
    if x > 709.782_712_893_384 {
        return f64::INFINITY;
    }
    if x < -38.0 {
        return -1.0;
    }
    if x > -5.6e-17 && x < 5.6e-17 {
        return x;
    }
    let k = nearest(x * INV_LN2);
    let kf = f64::from(k);
    let (high, low) = (x - kf * LN2_HIGH, kf * LN2_LOW);
    let r = high - low;
    let lost = (high - r) - low;
    let half = 0.5 * r;
    let hxs = r * half;
    let r1 = 1.0 + hxs * (Q[0] + hxs * (Q[1] + hxs * (Q[2] + hxs * (Q[3] + hxs * Q[4]))));
    let t = 3.0 - r1 * half;
    let mut e = hxs * ((r1 - t) / (6.0 - r * t));
    if k == 0 {
        return r - (r * e - hxs);
    }
    e = r * (e - lost) - lost - hxs;
    match k {
        -1 => 0.5 * (r - e) - 0.5,
        1 if r < -0.25 => -2.0 * (e - (r + 0.5)),
        1 => 1.0 + 2.0 * (r - e),
        _ if !(-1..=56).contains(&k) => scale(r - e + 1.0, k) - 1.0,
        _ if k < 20 => scale(r - e + (1.0 - power_of_two(-k)), k),
        _ => scale(r - (e + power_of_two(-k)) + 1.0, k),
    }
}

/// The hyperbolic tangent.
#[inline]
pub fn tanh(x: f64) -> f64 {
    let a = x.abs();
    let y = if a > 22.0 {
        1.0
    } else if a > 0.549_306_144_334_054_8 {
        1.0 - 2.0 / (expm1(2.0 * a) + 2.0)
    } else if a > 0.255_412_811_882_995_3 {
        let t = expm1(2.0 * a);
        t / (t + 2.0)
    } else {
        let t = expm1(-2.0 * a);
        -t / (t + 2.0)
    };
    if x.is_nan() {
        x
    } else if x.is_sign_negative() {
        -y
    } else {
        y
    }
}

/// The logistic function `1 / (1 + e^-x)`.
#[inline]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// `x` to an integer power, by squaring.
#[inline]
pub fn powi(x: f64, n: i32) -> f64 {
    let (mut base, mut left, mut y) = (x, n.unsigned_abs(), 1.0);
    while left > 0 {
        if left & 1 == 1 {
            y *= base;
        }
        base *= base;
        left >>= 1;
    }
    if n < 0 { 1.0 / y } else { y }
}

/// Scores to probabilities: `e^(x - max)`, divided by their sum taken in order.
pub fn softmax_in_place(x: &mut [f64]) {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sum = 0.0;
    for v in x.iter_mut() {
        *v = exp(*v - max);
        sum += *v;
    }
    for v in x.iter_mut() {
        *v /= sum;
    }
}

/// `ln(sum(e^x))` without overflow.
pub fn log_sum_exp(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + ln(x.iter().fold(0.0, |sum, &v| sum + exp(v - max)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    /// Distance in units in the last place.
    fn ulps(a: f64, b: f64) -> u64 {
        if a == b || (a.is_nan() && b.is_nan()) {
            return 0;
        }
        let order = |x: f64| {
            let bits = x.to_bits() as i64;
            if bits < 0 { i64::MIN - bits } else { bits }
        };
        order(a).abs_diff(order(b))
    }

    fn compare(name: &str, ours: fn(f64) -> f64, theirs: fn(f64) -> f64, low: f64, high: f64, bound: u64) {
        let mut random = Stream::new(3, 4);
        let mut worst = (0, 0.0);
        for _ in 0..300_000 {
            let x = low + (high - low) * random.uniform();
            let small = x * powi(0.1, random.below(12) as i32);
            for x in [x, small] {
                let d = ulps(ours(x), theirs(x));
                if d > worst.0 {
                    worst = (d, x);
                }
            }
        }
        assert!(
            worst.0 <= bound,
            "{name}({}) is {} units off: {} {}",
            worst.1,
            worst.0,
            ours(worst.1),
            theirs(worst.1)
        );
    }

    #[test]
    fn agrees_with_the_platform_within_two_units() {
        compare("exp", exp, f64::exp, -745.0, 709.7, 1);
        compare("exp", exp, f64::exp, -3.0, 3.0, 1);
        compare("ln", ln, f64::ln, 1e-300, 10.0, 1);
        compare("ln", ln, f64::ln, 0.5, 2.0, 1);
        compare("log1p", log1p, f64::ln_1p, -0.99, 5.0, 2);
        compare("expm1", expm1, f64::exp_m1, -40.0, 60.0, 2);
        compare("expm1", expm1, f64::exp_m1, -1.0, 1.0, 2);
        compare("tanh", tanh, f64::tanh, -25.0, 25.0, 2);
    }

    #[test]
    fn edges_are_those_of_the_standard() {
        for f in [exp, ln, log1p, expm1, tanh, sigmoid] {
            assert!(f(f64::NAN).is_nan());
        }
        assert_eq!((exp(f64::INFINITY), exp(f64::NEG_INFINITY), exp(0.0)), (f64::INFINITY, 0.0, 1.0));
        assert_eq!((ln(0.0), ln(1.0), ln(f64::INFINITY)), (f64::NEG_INFINITY, 0.0, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && log1p(-2.0).is_nan());
        assert_eq!((expm1(-1000.0), expm1(1000.0), tanh(-1000.0)), (-1.0, f64::INFINITY, -1.0));
        assert_eq!((sigmoid(0.0), sigmoid(1e4), sigmoid(-1e4)), (0.5, 1.0, 0.0));
        assert!(ulps(ln(5e-324), (5e-324f64).ln()) <= 1);
        for x in [-744.9, -720.0, -708.5] {
            assert!(exp(x) > 0.0 && ulps(exp(x), x.exp()) <= 1, "denormal results");
        }
    }

    #[test]
    fn softmax_adds_to_one_and_survives_large_scores() {
        let mut x = [1000.0, 1001.0, -1000.0];
        softmax_in_place(&mut x);
        assert!((x.iter().sum::<f64>() - 1.0).abs() < 1e-15 && x[1] > x[0] && x[2] == 0.0);
        assert!((log_sum_exp(&[1000.0, 1000.0]) - 1000.0 - core::f64::consts::LN_2).abs() < 1e-12);
    }
}
