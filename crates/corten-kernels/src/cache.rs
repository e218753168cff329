//! Memory that is asked for before it is read, so that misses overlap.

/// Bytes that come at once.
const LINE: usize = 64;

/// Asks for the line that an address lies in. Any address may be asked for: nothing is read.
#[inline(always)]
pub fn fetch<T: ?Sized>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "an instruction without a wrapper")]
    // SAFETY: SSE is part of the target; a prefetch reads nothing.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(target_arch = "aarch64")]
    #[expect(unsafe_code, reason = "an instruction without a wrapper")]
    // SAFETY: a prefetch reads nothing, and faults nowhere.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at.cast::<u8>(), options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

/// Asks for all of a value.
#[inline]
pub fn fetch_value<T: ?Sized>(value: &T) {
    let start = core::ptr::from_ref(value).cast::<u8>();
    for at in (0..size_of_val(value)).step_by(LINE) {
        fetch(start.wrapping_add(at));
    }
}
