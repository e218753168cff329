//! Which instructions kernels may use, found out once.

/// A set of instructions; higher ones include the lower. A level of another architecture runs what the highest below it
/// runs that is of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every CPU of the target has, as loops.
    Plain,
    /// 64-bit ARM's NEON, which all of them have.
    Neon,
    /// x86's AVX2.
    Avx2,
    /// x86's AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// All levels, the lowest first.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Neon, Self::Avx2, Self::Avx512];
}

/// What every CPU of the target has.
const BASE: Level =
    if cfg!(all(target_arch = "aarch64", target_feature = "neon")) { Level::Neon } else { Level::Plain };

/// The highest level that this CPU has, lowered by the environment variable `CORTEN_CPU` (`plain`, `neon`, `avx2`
/// or `avx512`). Results are the same bits on every level. Without `std` it is what all CPUs of the target have.
#[cfg(feature = "std")]
pub fn level() -> Level {
    static LEVEL: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
    *LEVEL.get_or_init(|| asked().unwrap_or(Level::Avx512).min(available()))
}

/// The level that `CORTEN_CPU` allows; the highest where it isn't set.
#[cfg(feature = "std")]
fn asked() -> corten_core::Result<Level> {
    let Some(value) = std::env::var_os("CORTEN_CPU") else { return Ok(Level::Avx512) };
    match value.to_str() {
        Some("plain") => Ok(Level::Plain),
        Some("neon") => Ok(Level::Neon),
        Some("avx2") => Ok(Level::Avx2),
        Some("avx512" | "") => Ok(Level::Avx512),
        _ => Err(corten_core::Error::value(alloc::format!(
            "The environment variable CORTEN_CPU must be one of {{'plain', 'neon', 'avx2', 'avx512'}}. Got '{}' instead.",
            value.to_string_lossy()
        ))),
    }
}

/// Refuses a `CORTEN_CPU` that names no level; what starts a process asks this once.
///
/// # Errors
/// [`corten_core::Error::Value`].
#[cfg(feature = "std")]
pub fn check() -> corten_core::Result<()> {
    asked().map(|_| ())
}

/// The level of targets without detection.
#[cfg(not(feature = "std"))]
pub fn level() -> Level {
    BASE
}

/// What the CPU has, whatever the environment asks for.
#[cfg(feature = "std")]
pub fn available() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
        {
            return Level::Avx512;
        }
        if std::is_x86_feature_detected!("avx2") {
            return Level::Avx2;
        }
    }
    BASE
}

/// Whether a CPU of [`Level::Avx512`] also looks bytes up across a whole register (VBMI).
#[cfg(feature = "std")]
pub fn vbmi() -> bool {
    #[cfg(target_arch = "x86_64")]
    if available() == Level::Avx512 {
        return std::is_x86_feature_detected!("avx512vbmi") && std::is_x86_feature_detected!("bmi2");
    }
    false
}

/// Whether a CPU of [`Level::Avx512`] multiplies bit matrices (GFNI).
#[cfg(feature = "std")]
pub fn gfni() -> bool {
    #[cfg(target_arch = "x86_64")]
    if available() == Level::Avx512 {
        return std::is_x86_feature_detected!("gfni");
    }
    false
}

/// Whether the CPU looks words of 16 bits up in two registers by several instructions, two of them in the only port that
/// shuffles: Intel's.
#[cfg(feature = "std")]
pub fn splits_words() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = core::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn splits_words() -> bool {
    false
}

/// Whether a CPU of [`Level::Avx2`] counts a word's leading zeros (LZCNT).
#[cfg(feature = "std")]
pub fn counts_words() -> bool {
    #[cfg(target_arch = "x86_64")]
    if available() >= Level::Avx2 {
        return std::is_x86_feature_detected!("lzcnt");
    }
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn counts_words() -> bool {
    false
}

/// Whether a CPU of [`Level::Avx2`] counts the zeros of a word, and spreads its bits (BMI1, BMI2).
#[cfg(feature = "std")]
pub fn moves_bits() -> bool {
    #[cfg(target_arch = "x86_64")]
    if available() >= Level::Avx2 {
        return std::is_x86_feature_detected!("bmi1") && std::is_x86_feature_detected!("bmi2");
    }
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn moves_bits() -> bool {
    false
}

/// Whether a CPU of [`Level::Avx512`] counts leading zeros (CD).
#[cfg(feature = "std")]
pub fn counts_zeros() -> bool {
    #[cfg(target_arch = "x86_64")]
    if available() == Level::Avx512 {
        return std::is_x86_feature_detected!("avx512cd");
    }
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn counts_zeros() -> bool {
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn gfni() -> bool {
    false
}

/// The answer of targets without detection.
#[cfg(not(feature = "std"))]
pub fn vbmi() -> bool {
    false
}

/// Compiles one body for each level and calls the one that [`level`] allows.
///
/// The body is the scalar twin itself: wider registers hold more of its fixed lanes, and Rust never contracts a
/// product and a sum, so every copy gives the same bits.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $out)? $body

            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
                fn avx512($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                match $crate::cpu::level() {
                    $crate::cpu::Level::Plain | $crate::cpu::Level::Neon => {}
                    $crate::cpu::Level::Avx2 => {
                        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                        // SAFETY: level() found AVX2 on this CPU.
                        return unsafe { avx2($($arg),*) };
                    }
                    $crate::cpu::Level::Avx512 => {
                        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                        // SAFETY: level() found these parts of AVX-512 on this CPU.
                        return unsafe { avx512($($arg),*) };
                    }
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use dispatch;
