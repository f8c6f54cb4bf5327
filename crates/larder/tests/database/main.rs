//! `larder db` from outside: the built program, real databases, folders and S3 servers, kills at every step.

mod catalogue;
mod documentation;
mod ends;
mod kills;
mod lab;
mod race;
mod schedules;
