//! What every fuzz target does first.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of one allocation: four times the memory that the targets let a decode take.
const ALLOCATION_BYTES_MAX: usize = 256 << 20;

/// Ends the process at an allocation that no limit allows. The fuzzer looks at its memory once a
/// second, and sees single allocations only with a sanitiser, which stable has not.
struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn check(bytes: usize) {
    if bytes > ALLOCATION_BYTES_MAX {
        eprintln!("an allocation of {bytes} bytes");
        std::process::abort();
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, or does not return.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Undoes the fuzzer's own panic hook, which ends the process at once. Panics of codecs are caught by
/// the code under test and refuse the file; the fuzzer still ends at a panic that reaches it.
pub fn keep_caught_panics_quiet() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}
