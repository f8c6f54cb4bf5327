//! The built binary, driven from outside: over HTTP as an application does, and by its command line.
//!
//! Each module is named after the requirement that it proves.

mod a10_integrity;
mod a11_statistics;
mod a15_env_file;
mod a2_start;
mod a2_store;
mod a3_names;
mod a6_media_url;
mod a9_migrate;
mod b10_shared_bytes;
mod b17_command_line;
mod b1_curl;
mod b1_durable;
mod b4_direct;
mod b5_import;
mod b8_slow_clients;
mod c12_avif;
mod c1_corpus;
mod c2_gps;
mod c3_image_command;
mod c3_photos;
mod client;
mod d2_visibility;
mod d4_purge;
mod d6_path_prefix;
mod i13_keys;
mod i4_backlog;
mod i4_stop;
mod i8_retention;
mod store;
