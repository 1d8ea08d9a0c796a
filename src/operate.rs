//! What operators run: the command line, the console, set-up, checks, dead letters, replay.

pub mod cli;
pub mod codec_server;
pub mod console;
pub mod dead_letters;
pub mod doctor;
mod notifications;
pub mod replay;
mod requests;
mod sender;
pub mod setup;
mod text;
