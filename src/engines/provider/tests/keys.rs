//! Which key a call sends.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::domain::Credential;

#[test]
fn each_call_sends_the_present_key() {
    for name in described_apis::names() {
        let mut provider = providers("http://127.0.0.1:1").of(Media::Image, name);
        let changes = AtomicUsize::new(0);
        let key = move || format!("key-{}", changes.fetch_add(1, Ordering::Relaxed));
        provider.config.api_key = Some(Credential::followed(key));
        let sent = || {
            let (_, value) = provider.credential().unwrap();
            value.to_str().unwrap().to_owned()
        };

        assert!(sent().ends_with("key-0"), "{name:?}");
        assert!(sent().ends_with("key-1"), "{name:?}");
    }
}
