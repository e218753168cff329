//! Large arrays on large pages: reading them in no particular order then misses no address translations.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Size of a large page.
const PAGE: usize = 1 << 21;
/// Size of a page that isn't.
const SMALL_PAGE: usize = 1 << 12;
/// Pages that are asked for at once.
const MANY: usize = 16;

/// Numbers of which all bits zero are a value.
pub trait Plain: Copy + Send + Sync + sealed::Sealed + 'static {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($t:ty)*) => {
        $(impl sealed::Sealed for $t {}
        impl Plain for $t {})*
    };
}
plain!(u8 u16 u32 i32 i64 f64 [i32; 2]);

/// An array that starts as zeros.
pub struct Pages<T: Plain> {
    start: NonNull<T>,
    len: usize,
    layout: Layout,
}

#[expect(unsafe_code, reason = "owns its memory as a vector does")]
// SAFETY: the memory belongs to the value alone, and its elements may be sent.
unsafe impl<T: Plain> Send for Pages<T> {}
#[expect(unsafe_code, reason = "owns its memory as a vector does")]
// SAFETY: shared access only reads.
unsafe impl<T: Plain> Sync for Pages<T> {}

impl<T: Plain> Pages<T> {
    /// An array of `len` zeros.
    ///
    /// # Panics
    /// When no address space is left.
    pub fn zeroed(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).filter(|b| *b < isize::MAX as usize / 2);
        let bytes = bytes.unwrap_or_else(|| panic!("an array of {len} numbers is too large"));
        let large = bytes >= 2 * PAGE;
        let (size, align) = if large { (bytes.next_multiple_of(PAGE), PAGE) } else { (bytes.max(64), 64) };
        let Ok(layout) = Layout::from_size_align(size, align) else {
            unreachable!("the alignment is a power of two, the size below that of the address space")
        };
        #[expect(unsafe_code, reason = "vectors can't be aligned to pages")]
        // SAFETY: the layout has a size; memory of the system's and of `alloc_zeroed` is zero, which is a value of `T`.
        let start = unsafe { if large { system::map(layout) } else { alloc_zeroed(layout) } };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        if large {
            madvise(start.as_ptr(), size, Advice::HugePage);
            madvise(start.as_ptr(), size, Advice::PopulateWrite);
        }
        Self { start: start.cast(), len, layout }
    }
}

/// Memory from the system itself: what is given back is free at once, and leaves no holes among other memory.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[expect(unsafe_code, reason = "system calls")]
mod system {
    use core::ffi::{c_int, c_long, c_void};
    use core::ptr::null_mut;
    use std::alloc::Layout;

    const READ_WRITE: c_int = 3;
    const PRIVATE_ANONYMOUS: c_int = 0x22;

    unsafe extern "C" {
        fn mmap(at: *mut c_void, bytes: usize, access: c_int, kind: c_int, file: c_int, offset: c_long) -> *mut c_void;
        fn munmap(at: *mut c_void, bytes: usize) -> c_int;
    }

    /// Zeros, or null where there is no memory.
    pub(super) unsafe fn map(layout: Layout) -> *mut u8 {
        // SAFETY: memory of our own, nowhere in particular; what lies before and behind the aligned part goes back.
        unsafe {
            let all = layout.size() + layout.align();
            let start = mmap(null_mut(), all, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
            if start as isize == -1 {
                return null_mut();
            }
            let before = start.cast::<u8>().align_offset(layout.align());
            let from = start.cast::<u8>().add(before);
            if before > 0 {
                munmap(start, before);
            }
            munmap(from.add(layout.size()).cast(), layout.align() - before);
            from
        }
    }

    /// Gives back what [`map`] gave.
    pub(super) unsafe fn unmap(start: *mut u8, layout: Layout) {
        // SAFETY: mapped with this size.
        unsafe { munmap(start.cast(), layout.size()) };
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod system {
    pub(super) use std::alloc::{alloc_zeroed as map, dealloc as unmap};
}

/// Asks for the pages of memory that nothing was written to yet and that is going to be filled: large ones where some lie
/// whole inside, and all of them at once, which takes a third of the time that they take one by one.
pub(crate) fn advise_inside(start: *mut u8, bytes: usize) {
    let whole = |page: usize| {
        let skip = start.align_offset(page);
        (start.wrapping_add(skip), bytes.saturating_sub(skip) / page * page)
    };
    let (large, bytes) = whole(PAGE);
    if bytes > 0 {
        madvise(large, bytes, Advice::HugePage);
    }
    let (small, bytes) = whole(SMALL_PAGE);
    if bytes >= MANY * SMALL_PAGE {
        madvise(small, bytes, Advice::PopulateWrite);
    }
}

/// Gives memory that was freed back to the system: allocators keep it, and fits of different sizes in turn, each on a thread
/// of its own, leave holes that no later one fills.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library")]
pub fn give_back() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> core::ffi::c_int;
    }
    // SAFETY: touches only memory that is free, under the allocator's own locks.
    unsafe { malloc_trim(0) };
}

/// Nothing: allocators of other systems give back by themselves what they want to.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[derive(Clone, Copy)]
enum Advice {
    HugePage = 14,
    PopulateWrite = 23,
}

/// Advice on memory of our own; nothing depends on the answer.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call")]
fn madvise(start: *mut u8, bytes: usize, advice: Advice) {
    unsafe extern "C" {
        fn madvise(start: *mut core::ffi::c_void, bytes: usize, advice: i32) -> i32;
    }
    // SAFETY: the memory is our own, and none of this advice changes its content.
    unsafe { madvise(start.cast(), bytes, advice as i32) };
}

#[cfg(not(target_os = "linux"))]
fn madvise(_: *mut u8, _: usize, _: Advice) {}

impl<T: Plain> Default for Pages<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T: Plain> Drop for Pages<T> {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "gives the memory back")]
        // SAFETY: allocated with this layout, from the system where it is aligned to large pages; elements need no drop.
        unsafe {
            let start = self.start.as_ptr().cast();
            if self.layout.align() == PAGE { system::unmap(start, self.layout) } else { dealloc(start, self.layout) }
        }
    }
}

impl<T: Plain> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        #[expect(unsafe_code, reason = "owns its memory as a vector does")]
        // SAFETY: `len` elements, all set.
        unsafe {
            core::slice::from_raw_parts(self.start.as_ptr(), self.len)
        }
    }
}

impl<T: Plain> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        #[expect(unsafe_code, reason = "owns its memory as a vector does")]
        // SAFETY: `len` elements, all set, and borrowed by nobody else.
        unsafe {
            core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len)
        }
    }
}

impl<T: Plain + core::fmt::Debug> core::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> FromIterator<T> for Pages<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: std::vec::Vec<T> = items.into_iter().collect();
        let mut out = Self::zeroed(items.len());
        out.copy_from_slice(&items);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_size_start_as_zeros_and_keep_what_is_written() {
        for len in [0usize, 1, 1000, 1 << 20, (3 << 20) + 5] {
            let mut a = Pages::<u32>::zeroed(len);
            assert!(a.len() == len && a.iter().all(|&x| x == 0));
            if let Some(last) = a.last_mut() {
                *last = 7;
            }
            assert_eq!(a.iter().sum::<u32>(), if len > 0 { 7 } else { 0 });
        }
    }
}
