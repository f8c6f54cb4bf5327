//! Over an S3 bucket, the same tests as `system` runs on the local disk: all of them but those of the choice of
//! the store, of moves between stores, which know buckets themselves, and of the system calls that make a file
//! durable.

#[path = "../system/a10_integrity.rs"]
mod a10_integrity;
#[path = "../system/b10_shared_bytes.rs"]
mod b10_shared_bytes;
#[path = "../system/b17_command_line.rs"]
mod b17_command_line;
#[path = "../system/b1_curl.rs"]
mod b1_curl;
#[path = "../system/b4_direct.rs"]
mod b4_direct;
#[path = "../system/b5_import.rs"]
mod b5_import;
#[path = "../system/b8_slow_clients.rs"]
mod b8_slow_clients;
#[path = "../system/c12_avif.rs"]
mod c12_avif;
#[path = "../system/c1_corpus.rs"]
mod c1_corpus;
#[path = "../system/c2_gps.rs"]
mod c2_gps;
#[path = "../system/c3_photos.rs"]
mod c3_photos;
#[path = "../system/client.rs"]
mod client;
#[path = "../system/d6_path_prefix.rs"]
mod d6_path_prefix;
#[path = "../system/i13_keys.rs"]
mod i13_keys;
#[path = "../system/i4_backlog.rs"]
mod i4_backlog;
#[path = "../system/i4_stop.rs"]
mod i4_stop;
#[path = "../system/i8_retention.rs"]
mod i8_retention;
mod store;
