//! The helpers that exported C may call, each with those that it calls itself.
//!
//! `exp` and its kin are the operations of `corten-kernels` one by one: no library agrees with another in the last bits.

use std::collections::BTreeSet;

/// A helper; those that others call come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Helper {
    /// Infinity and NaN as constants.
    Special,
    /// A number of the row or of the array.
    At,
    /// 16 sums to one.
    Fold,
    /// `2^k`, and a number times it.
    Power,
    Exp,
    Ln,
    Log1p,
    Sigmoid,
    /// A number's place among all, as a whole number: -0 below 0, and NaN above all.
    Order,
    /// Rounds to single precision.
    Narrow,
    /// Thresholds below a value, in tables of `float` and of `double`.
    RankFloat,
    RankDouble,
    /// The code of a category in a tree.
    Level,
    /// Compares texts.
    Compare,
    /// Finds a text among sorted ones.
    FindText,
}

impl Helper {
    /// Adds it and all that it calls.
    pub(crate) fn with_needs(self, all: &mut BTreeSet<Self>) {
        all.insert(self);
        let needs: &[Self] = match self {
            Self::Exp => &[Self::Power, Self::Special],
            Self::Ln => &[Self::Power, Self::Special],
            Self::Log1p => &[Self::Ln, Self::Special],
            Self::Sigmoid => &[Self::Exp],
            Self::FindText => &[Self::Compare],
            _ => &[],
        };
        needs.iter().for_each(|n| n.with_needs(all));
    }

    /// Its C. `given` is how many numbers a row has.
    pub(crate) fn source(self, given: usize) -> String {
        match self {
            Self::Special => SPECIAL.into(),
            Self::At if given == 0 => AT.replace("i < GIVEN ? row[i] : v[i - GIVEN]", "((void)row, v[i])"),
            Self::At => AT.replace("GIVEN", &format!("{given}u")),
            Self::Fold => FOLD.into(),
            Self::Power => POWER.into(),
            Self::Exp => EXP.into(),
            Self::Ln => LN.into(),
            Self::Log1p => LOG1P.into(),
            Self::Sigmoid => SIGMOID.into(),
            Self::Order => ORDER.into(),
            Self::Narrow => NARROW.into(),
            Self::RankFloat => RANK.replace("NAME", "rank_float").replace("TYPE", "float"),
            Self::RankDouble => RANK.replace("NAME", "rank_double").replace("TYPE", "double"),
            Self::Level => LEVEL.into(),
            Self::Compare => COMPARE.into(),
            Self::FindText => FIND_TEXT.into(),
        }
    }
}

const ORDER: &str = r"
static int64_t order(double x) {
    union { uint64_t bits; double value; } u;
    if (x != x) return INT64_MAX;
    u.value = x;
    return u.bits >> 63 ? -1 - (int64_t)(u.bits & 0x7fffffffffffffffu) : (int64_t)u.bits;
}
";

const NARROW: &str = r#"
static double narrow(double x) {
    volatile float rounded = (float)x;
    return (double)rounded;
}
"#;

const SPECIAL: &str = r#"
#if defined(__GNUC__) || defined(__clang__)
#define INFINITE __builtin_inf()
#define NOT_A_NUMBER __builtin_nan("")
#else
#include <math.h>
#define INFINITE ((double)INFINITY)
#define NOT_A_NUMBER ((double)NAN)
#endif
"#;

const AT: &str = r"
static double at(const double *row, const double *v, uint32_t i) {
    return i < GIVEN ? row[i] : v[i - GIVEN];
}
";

const FOLD: &str = r"
static double fold(double *lanes) {
    uint32_t half, i;
    for (half = 8; half > 0; half /= 2)
        for (i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}
";

const POWER: &str = r"
static double power_of_two(int32_t k) {
    union { uint64_t bits; double value; } u;
    u.bits = (uint64_t)(k + 1023) << 52;
    return u.value;
}
";

const EXP: &str = r"
static double scaled(double x, int32_t k) {
    if (k >= -1021 && k <= 1023) return x * power_of_two(k);
    if (k > 1023) return x * power_of_two(1023) * power_of_two(k - 1023 < 1023 ? k - 1023 : 1023);
    return x * power_of_two(-969) * power_of_two(k + 969 > -1021 ? k + 969 : -1021);
}

static double own_exp(double x) {
    int32_t k;
    double whole, high, low, r, t, c, y;
    if (x != x) return x;
    if (x > 709.782712893384) return INFINITE;
    if (x < -745.1332191019411) return 0.0;
    t = x * 1.4426950408889634;
    k = (int32_t)(t + (t < 0.0 ? -0.5 : 0.5));
    whole = (double)k;
    high = x - whole * 6.931471803691238e-1;
    low = whole * 1.9082149292705877e-10;
    r = high - low;
    t = r * r;
    c = r - t * (1.6666666666666602e-1 + t * (-2.7777777777015593e-3 + t * (6.613756321437934e-5
        + t * (-1.6533902205465252e-6 + t * 4.1381367970572385e-8))));
    y = 1.0 + (r * c / (2.0 - c) - low + high);
    return k == 0 ? y : scaled(y, k);
}
";

const LN: &str = r"
static double own_ln(double x) {
    union { uint64_t bits; double value; } u;
    int32_t k = 0;
    uint32_t high;
    double f, half, s, z, w, even, odd, whole;
    if (x != x || x == INFINITE) return x;
    if (x <= 0.0) return x == 0.0 ? -INFINITE : NOT_A_NUMBER;
    u.value = x;
    if (x < 2.2250738585072014e-308) {
        u.value = x * power_of_two(54);
        k = -54;
    }
    high = (uint32_t)(u.bits >> 32) + (0x3ff00000u - 0x3fe6a09eu);
    k += (int32_t)(high >> 20) - 1023;
    high = (high & 0x000fffffu) + 0x3fe6a09eu;
    u.bits = (uint64_t)high << 32 | (u.bits & 0xffffffffu);
    f = u.value - 1.0;
    half = 0.5 * f * f;
    s = f / (2.0 + f);
    z = s * s;
    w = z * z;
    even = w * (3.999999999940942e-1 + w * (2.2222198432149784e-1 + w * 1.5313837699209373e-1));
    odd = z * (6.666666666666735e-1 + w * (2.857142874366239e-1 + w * (1.818357216161805e-1
        + w * 1.4798198605116586e-1)));
    whole = (double)k;
    return s * (half + (odd + even)) + whole * 1.9082149292705877e-10 - half + f + whole * 6.931471803691238e-1;
}
";

const LOG1P: &str = r"
static double own_log1p(double x) {
    double u, lost;
    if (x != x || x == INFINITE) return x;
    if (x <= -1.0) return x == -1.0 ? -INFINITE : NOT_A_NUMBER;
    if (x > -1.1e-16 && x < 1.1e-16) return x;
    u = 1.0 + x;
    lost = u >= 2.0 ? 1.0 - (u - x) : x - (u - 1.0);
    return own_ln(u) + lost / u;
}
";

const SIGMOID: &str = r"
static double sigmoid(double x) {
    double e;
    if (x >= 0.0) return 1.0 / (1.0 + own_exp(-x));
    e = own_exp(x);
    return e / (1.0 + e);
}
";

const RANK: &str = r"
/* How many of n ascending numbers lie below x. */
static uint32_t NAME(const TYPE *table, uint32_t n, double x) {
    uint32_t low = 0, half;
    while (n > 0) {
        half = n / 2;
        if ((double)table[low + half] < x) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}
";

const LEVEL: &str = r"
static uint32_t level_of(uint32_t levels, double x) {
    if (x != x) return levels + 1;
    return x > -1.0 && x < (double)levels ? (uint32_t)x : levels;
}
";

const COMPARE: &str = r"
/* Below 0, 0 or above 0, byte by byte. */
static int compare(const unsigned char *a, const char *text) {
    const unsigned char *b = (const unsigned char *)text;
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (int)*a - (int)*b;
}
";

const FIND_TEXT: &str = r"
/* The place of a text among n sorted ones; n where it is not there. */
#define FIND_TEXT(bytes, starts, n, text, low)                          \
    do {                                                                \
        uint32_t high_ = (n), middle_;                                  \
        (low) = 0;                                                      \
        while ((low) < high_) {                                         \
            middle_ = (low) + (high_ - (low)) / 2;                      \
            if (compare((bytes) + (starts)[middle_], (text)) < 0)       \
                (low) = middle_ + 1;                                    \
            else                                                        \
                high_ = middle_;                                        \
        }                                                               \
        if ((low) < (n) && compare((bytes) + (starts)[low], (text)) != 0) (low) = (n); \
    } while (0)
";
