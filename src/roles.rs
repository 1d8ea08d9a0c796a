pub mod intake;
pub mod notifier;
pub mod worker;
