//! `Header::memory_bytes` is never less than what a decode takes, nor `encode_memory_bytes` than an encode.
//! One test only: it counts the whole process.
#![expect(unsafe_code, reason = "an allocator that counts")]

mod writer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use larder_jpeg::{
    EncodeOptions, Header, Options, RgbView, Sampling, Scale, Source, decode, encode, encode_memory_bytes,
};
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
fn no_more_is_taken_than_was_announced() {
    decodes();
    encodes();
}

/// The most that was held at a time, beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> u64 {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let taken = (PEAK.load(Relaxed) - before) as u64;
    drop(result);
    taken
}

/// Noise at the highest quality takes the most.
fn encodes() {
    for (width, height) in [(1, 1), (70, 50), (1_200, 900), (65_535, 2)] {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let samples: Vec<u8> = (0..3 * width * height).map(|_| noise()).collect();
        for (sampling, optimal_tables) in Sampling::ALL.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let rgb = Source::Rgb(RgbView { width, height, stride: 3 * width, samples: &samples });
            let options = EncodeOptions { quality: 100, sampling, optimal_tables, ..Default::default() };
            let announced = encode_memory_bytes(width, height, Some(sampling));
            let taken = peak(|| encode(&rgb, &options).unwrap());
            assert!(taken <= announced, "{taken} of {announced}: {width}x{height} {sampling:?}");
            // Not so much more that it says nothing.
            assert!(width * height < 1_000_000 || 3 * taken > announced, "{taken} of {announced}");
        }
    }
}

fn decodes() {
    let samplings: [&[(usize, usize)]; 3] = [&[(1, 1)], &[(2, 2), (1, 1), (1, 1)], &[(1, 1); 4]];
    for (sampling, progressive) in samplings.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        for (width, height) in [(1, 1), (700, 500)] {
            let form = Form { progressive, interleaved: true, restart_interval: 0, long_codes: true };
            let file = Picture::random(width, height, sampling, 5).write(form);
            for scale in Scale::ALL {
                let announced = Header::read(&file).unwrap().memory_bytes(scale);
                let taken = peak(|| decode(&file, &Options { scale, ..Options::default() }).unwrap());
                assert!(
                    taken <= announced,
                    "{taken} of {announced}: {sampling:?} {width}x{height} {scale:?}"
                );
            }
        }
    }
}
