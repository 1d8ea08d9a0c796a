//! stub
pub struct Health;
impl Health { pub fn register(&self, _: &'static str) {} pub fn ready(&self, _: &'static str) {} pub fn not_ready(&self, _: &'static str, _: &str) {} pub fn drain(&self) {} }
