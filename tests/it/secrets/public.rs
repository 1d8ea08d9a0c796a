//! The public default secrets are for development only.

use genflow::engines::config::dev;
use rustix::process::Signal;

use crate::support::Space;
use crate::support::engines::elsewhere;

#[tokio::test]
async fn a_role_does_not_start_with_a_public_secret_where_an_engine_is_elsewhere() {
    let [temporal, keys, secret] = elsewhere().await;
    let space = Space::with(&[temporal, keys, secret]).await;
    let public = [
        ("NOTIFY_KEYS", dev::NOTIFY_KEYS),
        ("WEBHOOK_SIGNING_SECRET", dev::WEBHOOK_SIGNING_SECRET),
    ];

    for (role, faults) in [("intake", 1), ("notifier", 2), ("all", 2)] {
        let (code, printed) = space.run_with(&[role], &public).await;

        assert_eq!((code, printed.lines().count()), (64, faults), "{printed}");
        for (variable, value) in &public[..faults] {
            let reported = format!("{variable}: holds the public development secret");
            assert!(printed.contains(&reported), "{printed}");
            assert!(!printed.contains(value), "{printed}");
        }
    }

    let allowed = ("GENFLOW_INSECURE_DEV", "true");
    let settings = [public[0], public[1], allowed];
    for settings in [&settings[..], &[]] {
        let mut all = space.start_with(&["all"], settings);
        crate::support::eventually("the roles start", async || {
            all.output().contains("role started").then_some(())
        })
        .await;
        all.signal(Signal::TERM);
        assert!(all.ended().await.success(), "{}", all.output());
    }
}
