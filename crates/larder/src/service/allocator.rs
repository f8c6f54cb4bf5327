//! How the C library's allocator treats pictures.

/// From this size on a block comes from the system and goes back to it when freed. glibc starts at
/// 128 KiB and raises the threshold up to 32 MiB as blocks are freed, so that decoded pictures end up
/// in the arenas of many threads and stay there: after the 150 files of the test corpus, eight at a
/// time, the process kept 272 MB, and 38 MB with this; its peak fell from 405 to 219 MB. Fresh pages
/// for each large block cost 4 % of the processor time of that run.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM_BYTES: std::ffi::c_int = 4 << 20;

/// Makes the allocator give the memory of pictures back. Where the C library is no glibc, it does.
pub fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// `M_MMAP_THRESHOLD` of `malloc.h`; setting it also ends its growth (mallopt(3)).
        const M_MMAP_THRESHOLD: std::ffi::c_int = -3;

        #[expect(unsafe_code, reason = "declares a function of the C library that takes plain numbers")]
        unsafe extern "C" {
            safe fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }

        // A refusal changes nothing but how much memory is kept.
        let _ = mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
    }
}
