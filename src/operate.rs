//! What operators run: the command line, set-up, checks, dead letters, replay.

pub mod cli;
pub mod codec_server;
pub mod dead_letters;
pub mod doctor;
pub mod replay;
pub mod setup;
