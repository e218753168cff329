//! `memcpy` and `memmove` for musl on x86-64. Musl's own start a string instruction for every copy, which takes longer
//! than the copies of one row, a few numbers each: a row of a linear pipeline takes twice as long with them.

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// Bytes of the largest register that every CPU of the target has.
const STEP: usize = size_of::<__m128i>();
/// From here on a string instruction is worth its start.
const LARGE: usize = 1024;

/// Copies less than two steps: two values, both read before one is written, cover everything from one to two of their sizes.
///
/// # Safety
/// `count` bytes can be read at `from` and written at `to`.
#[inline(always)]
#[expect(unsafe_code, reason = "memory by address")]
unsafe fn small(to: *mut u8, from: *const u8, count: usize) {
    macro_rules! ends {
        ($type:ty) => {{
            let last = count - size_of::<$type>();
            // SAFETY: count is at least the type's size, so both reads and both writes lie within it.
            unsafe {
                let (a, b) = (from.cast::<$type>().read_unaligned(), from.add(last).cast::<$type>().read_unaligned());
                to.cast::<$type>().write_unaligned(a);
                to.add(last).cast::<$type>().write_unaligned(b);
            }
        }};
    }
    match count {
        0 => {}
        1 => ends!(u8),
        2..4 => ends!(u16),
        4..8 => ends!(u32),
        8..STEP => ends!(u64),
        _ => ends!(u128),
    }
}

/// Copies from the first byte to the last.
///
/// # Safety
/// `count` bytes can be read at `from` and written at `to`; where they overlap, `to` is the lower one.
#[inline(always)]
#[expect(unsafe_code, reason = "memory by address")]
unsafe fn forwards(to: *mut u8, from: *const u8, count: usize) {
    match count {
        // SAFETY: the caller's promise.
        0..=STEP => unsafe { small(to, from, count) },
        _ if count < LARGE => {
            // SAFETY: every register that is read and written ends within count. A write reaches nothing that is read after
            // it, but for the last register, which is read first.
            unsafe {
                let last = _mm_loadu_si128(from.add(count - STEP).cast());
                let mut at = 0;
                while at + STEP < count {
                    _mm_storeu_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast()));
                    at += STEP;
                }
                _mm_storeu_si128(to.add(count - STEP).cast(), last);
            }
        }
        // SAFETY: the instruction reads and writes count bytes, one after the other; the direction is upwards by the calling
        // convention.
        _ => unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        },
    }
}

/// Copies from the last byte to the first.
///
/// # Safety
/// `count` bytes can be read at `from` and written at `to`; where they overlap, `to` is the higher one.
#[inline(always)]
#[expect(unsafe_code, reason = "memory by address")]
unsafe fn backwards(to: *mut u8, from: *const u8, count: usize) {
    if count <= STEP {
        // SAFETY: the caller's promise.
        return unsafe { small(to, from, count) };
    }
    // SAFETY: as upwards, with the first register in the place of the last.
    unsafe {
        let first = _mm_loadu_si128(from.cast());
        let mut at = count;
        while at > STEP {
            at -= STEP;
            _mm_storeu_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast()));
        }
        _mm_storeu_si128(to.cast(), first);
    }
}

/// Copies in the direction that keeps what is still to be read.
///
/// # Safety
/// `count` bytes can be read at `from` and written at `to`.
#[inline(always)]
#[expect(unsafe_code, reason = "memory by address")]
unsafe fn either(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: where `to` is lower, the difference wraps round to more than any count.
    unsafe {
        if to.addr().wrapping_sub(from.addr()) >= count {
            forwards(to, from, count);
        } else {
            backwards(to, from, count);
        }
    }
}

#[cfg(all(target_env = "musl", not(test)))]
mod exported {
    /// C's function, found before the one in the C library's archive.
    ///
    /// # Safety
    /// As in C: `count` bytes can be read at `from` and written at `to`, and don't overlap.
    #[expect(unsafe_code, reason = "a function of C")]
    // SAFETY: it has the name, the signature and the behaviour of C's function.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { super::forwards(to, from, count) };
        to
    }

    /// C's function. Musl's would bring musl's `memcpy` with it.
    ///
    /// # Safety
    /// As in C: `count` bytes can be read at `from` and written at `to`.
    #[expect(unsafe_code, reason = "a function of C")]
    // SAFETY: it has the name, the signature and the behaviour of C's function.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { super::either(to, from, count) };
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_copied_and_nothing_beside_it_wherever_the_two_lie() {
        let places = [(0, 0), (3, 0), (0, 3), (16, 1), (1, 16), (40, 0), (0, 40), (0, 1500), (1501, 0)];
        for count in (0..300).chain(LARGE - 20..LARGE + 20).chain([2 * LARGE]) {
            let before: Vec<u8> = (0..count + 1600).map(|i| (i * 31 % 251) as u8).collect();
            for (to, from) in places {
                let (mut got, mut want) = (before.clone(), before.clone());
                want.copy_within(from..from + count, to);
                #[expect(unsafe_code, reason = "what is tested")]
                // SAFETY: both ranges end within the vector.
                unsafe {
                    let at = got.as_mut_ptr();
                    either(at.add(to), at.add(from), count);
                }
                assert_eq!(got, want, "{count} bytes from {from} to {to}");
            }
        }
    }
}
