pub mod cli;
pub mod dead_letters;
pub mod doctor;
pub mod replay;
pub mod setup;
