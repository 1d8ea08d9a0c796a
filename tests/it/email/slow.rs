//! A mail server that accepts a complete mail, but answers later than a first attempt may wait.

use super::{notifier, outcome, publish_to, receipt};
use crate::support::Space;
use crate::support::mail::{Catcher, mails};

#[tokio::test]
async fn a_slow_mail_server_gets_the_first_mail_twice_under_one_id_and_others_once() {
    let space = Space::new().await;
    let catcher = Catcher::start(&space, "--starttls").await;
    let _notifier = notifier(&space, &catcher.smtp(), &[]);

    // The first attempt of the first mail times out. The second mail has only an attempt of its workflow, which waits
    // longer.
    for (request, to, tries) in [
        ("first", "after-7+first@example.org", 2),
        ("second", "after-7+second@example.org", 1),
    ] {
        let event = publish_to(&space, request, to).await;

        let receipt = receipt(&space, request).await;
        assert_eq!(outcome(&receipt), ("DELIVERED", Some(250), tries, ""));
        let caught = mails(&catcher.maildir, to);
        assert_eq!(caught.len(), tries as usize);
        let id = format!("<{}@mail.test>", event.event_id);
        assert!(caught.iter().all(|mail| mail.header("Message-ID") == id));
    }
}
