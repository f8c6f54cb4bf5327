//! `Header::memory_bytes` is never less than what a decode takes. One test only: it counts the whole process.
#![expect(unsafe_code, reason = "an allocator that counts")]

mod writer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use larder_jpeg::{Header, Options, Scale, decode};
use writer::{Form, Picture};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_decode_takes_no_more_than_was_announced() {
    let samplings: [&[(usize, usize)]; 3] = [&[(1, 1)], &[(2, 2), (1, 1), (1, 1)], &[(1, 1); 4]];
    for (sampling, progressive) in samplings.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        for (width, height) in [(1, 1), (700, 500)] {
            let form = Form { progressive, interleaved: true, restart_interval: 0, long_codes: true };
            let file = Picture::random(width, height, sampling, 5).write(form);
            for scale in Scale::ALL {
                let announced = Header::read(&file).unwrap().memory_bytes(scale);
                let before = HELD.load(Relaxed);
                PEAK.store(before, Relaxed);
                decode(&file, &Options { scale, ..Options::default() }).unwrap();
                let taken = (PEAK.load(Relaxed) - before) as u64;
                assert!(
                    taken <= announced,
                    "{taken} of {announced}: {sampling:?} {width}x{height} {scale:?}"
                );
            }
        }
    }
}
