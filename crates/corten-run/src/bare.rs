//! Memory and the end of the program from the C library of a device.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

#[expect(unsafe_code, reason = "functions of C")]
unsafe extern "C" {
    fn memalign(alignment: usize, size: usize) -> *mut c_void;
    fn free(at: *mut c_void);
    fn abort() -> !;
}

struct Heap;

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: the C library's `memalign` and `free` keep the contract of `GlobalAlloc`; layouts have powers of two.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { memalign(layout.align().max(size_of::<usize>()), layout.size()).cast() }
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        // SAFETY: `at` came from `alloc`.
        unsafe { free(at.cast()) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[expect(unsafe_code, reason = "a function of C")]
    // SAFETY: `abort` takes nothing.
    unsafe {
        abort()
    }
}
