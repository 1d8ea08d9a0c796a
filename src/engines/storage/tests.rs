//! Tests the store on a disk. `tests/it` tests it on a bucket, since that needs a server.

use super::*;
use crate::contract::run::{JobRecord, SentInput, SubmitAnswer};
use crate::domain::{Generated, ProviderName, RequestId};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(temp::tests::folder())
    }

    fn store(&self) -> Store {
        let mut settings = config::Config::of(&[]).unwrap().worker;
        settings.results_dir = self.0.join("store");
        Store::open(&settings).unwrap()
    }

    fn checked(&self, text: &str) -> Checked {
        let path = self.0.join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&path, text).unwrap();
        let format = media::Format {
            content_type: "image/png",
            extension: "png",
            width: None,
            height: None,
            duration_seconds: None,
        };
        Checked {
            file: temp::tests::file(path),
            bytes: text.len() as u64,
            sha256: "ab".repeat(32),
            format,
        }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

const OURS: &str = "f1:ours";

fn workflow(retry: u32) -> WorkflowId {
    RequestId::try_from("r-1".to_owned()).unwrap().run(retry)
}

fn manifest(output: Output) -> Manifest {
    Manifest {
        workflow_id: workflow(0),
        fingerprint: Some(OURS.to_owned()),
        result: Generated {
            outputs: vec![output],
            provider: "replicate".to_owned(),
            provider_job_id: "j".to_owned(),
            elapsed_ms: 1,
            cost_usd: None,
            cost_source: None,
            sent: None,
            notes: Vec::new(),
            model: None,
        },
    }
}

#[tokio::test]
async fn the_same_output_twice_is_stored_once_and_leaves_no_other_file() {
    let folder = Folder::new();
    let store = folder.store();

    let first = store.put(&workflow(1), 0, folder.checked("bytes")).await;
    let again = store.put(&workflow(1), 0, folder.checked("bytes")).await;

    let first = first.unwrap();
    assert_eq!(first, again.unwrap());
    assert!(first.uri.starts_with("file:///"), "{}", first.uri);
    assert!(first.uri.ends_with("/r-1~1/0-abababababababab.png"));
    assert_eq!(folder.names("store/r-1~1"), ["0-abababababababab.png"]);
    assert_eq!(folder.names("."), ["store"], "no downloaded file is left");
}

#[tokio::test]
async fn a_file_of_the_same_name_is_never_replaced() {
    let folder = Folder::new();
    let store = folder.store();
    store
        .put(&workflow(0), 0, folder.checked("bytes"))
        .await
        .unwrap();

    let other = store
        .put(&workflow(0), 0, folder.checked("other bytes"))
        .await;

    assert_eq!(fault::cause(&other.unwrap_err()), "taken");
    let kept = folder.0.join("store/r-1/0-abababababababab.png");
    assert_eq!(std::fs::read(kept).unwrap(), b"bytes");
}

/// As if TEMP_DIR and RESULTS_DIR were on two disks.
#[tokio::test]
async fn a_file_that_cannot_be_renamed_is_copied_and_leftovers_of_killed_copies_are_removed() {
    let folder = Folder::new();
    let store = folder.store();
    let file = folder.checked(&"0123456789abcdef".repeat(2 * 1024 * 1024));
    let location = store.location(&workflow(0), "0-ab.png").unwrap();
    let target = folder.0.join("store").join(location.as_ref());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::write(target.with_file_name("0-ab.png#1"), b"half").unwrap();
    std::fs::write(target.with_file_name("1-ab.png#1"), b"another's").unwrap();

    let uploads = &store.uploads;
    let attributes = store.typed("image/png");
    uploads
        .put_in_parts(
            store.objects.clone(),
            location,
            file.file.path(),
            file.bytes,
            attributes,
        )
        .await
        .unwrap();
    disk::tidy(target.clone()).await.unwrap();

    assert_eq!(
        std::fs::read(&target).unwrap(),
        std::fs::read(file.file.path()).unwrap()
    );
    assert_eq!(folder.names("store/r-1"), ["0-ab.png", "1-ab.png#1"]);
}

#[tokio::test]
async fn a_file_that_ends_early_is_not_stored_and_leaves_nothing() {
    let folder = Folder::new();
    let store = folder.store();
    let file = folder.checked("short");
    let location = store.location(&workflow(0), "0-ab.png").unwrap();

    let attributes = store.typed("image/png");
    let put = store.uploads.put_in_parts(
        store.objects.clone(),
        location,
        file.file.path(),
        6,
        attributes,
    );

    assert!(put.await.is_err());
    store.close(std::time::Duration::from_secs(5)).await;
    assert_eq!(folder.names("store/r-1"), Vec::<String>::new());
}

#[tokio::test]
async fn a_manifest_counts_only_while_its_files_are_there() {
    let folder = Folder::new();
    let store = folder.store();
    let output = store.put(&workflow(0), 0, folder.checked("bytes")).await;
    let output = output.unwrap();
    let manifest = manifest(output.clone());
    store.write_manifest(&manifest).await.unwrap();

    let found = store.manifest(&workflow(0), Some(OURS)).await.unwrap();
    assert_eq!(found, Some(manifest));
    std::fs::remove_file(Url::parse(&output.uri).unwrap().to_file_path().unwrap()).unwrap();
    assert_eq!(
        store.manifest(&workflow(0), Some(OURS)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_manifest_of_another_store_does_not_count() {
    let folder = Folder::new();
    let store = folder.store();
    let mut output = store
        .put(&workflow(0), 0, folder.checked("bytes"))
        .await
        .unwrap();
    output.uri = "s3://media/r-1/0-abababababababab.png".to_owned();
    store.write_manifest(&manifest(output)).await.unwrap();

    assert_eq!(
        store.manifest(&workflow(0), Some(OURS)).await.unwrap(),
        None
    );
    assert_eq!(
        store.manifest(&workflow(1), Some(OURS)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_manifest_counts_for_the_content_it_was_written_for_and_a_later_one_replaces_it() {
    let folder = Folder::new();
    let store = folder.store();
    let output = store.put(&workflow(0), 0, folder.checked("bytes")).await;
    let ours = manifest(output.unwrap());
    let of = |fingerprint| {
        let store = store.clone();
        async move { store.manifest(&workflow(0), fingerprint).await.unwrap() }
    };
    store.write_manifest(&ours).await.unwrap();
    assert_eq!(of(Some("f1:theirs")).await, None);
    assert_eq!(of(None).await, None, "no fingerprint");

    let fingerprint = Some("f1:theirs".to_owned());
    let theirs = Manifest {
        fingerprint,
        ..ours
    };
    store.write_manifest(&theirs).await.unwrap();

    assert_eq!(of(Some(OURS)).await, None);
    assert_eq!(of(Some("f1:theirs")).await, Some(theirs));
}

#[tokio::test]
async fn a_manifest_without_a_fingerprint_counts_for_no_content() {
    let folder = Folder::new();
    let store = folder.store();
    let output = store.put(&workflow(0), 0, folder.checked("bytes")).await;
    let mut written = serde_json::to_value(manifest(output.unwrap())).unwrap();
    written.as_object_mut().unwrap().remove("fingerprint");
    std::fs::write(
        folder.0.join("store/r-1/manifest.json"),
        written.to_string(),
    )
    .unwrap();

    for fingerprint in [Some(OURS), None] {
        let found = store.manifest(&workflow(0), fingerprint).await.unwrap();
        assert_eq!(found, None, "{fingerprint:?}");
    }
}

#[tokio::test]
async fn an_answer_is_found_by_its_own_run_only() {
    let folder = Folder::new();
    let store = folder.store();
    let record = |run_id: &str, candidate, send| JobRecord {
        workflow_id: workflow(0),
        run_id: run_id.to_owned(),
        provider: ProviderName::FAL,
        candidate,
        send,
        answer: SubmitAnswer::NotAccepted,
        input: SentInput::default(),
    };
    let found_of = async |run_id, candidate| {
        let found = store.job_record(&workflow(0), run_id, candidate).await;
        found.unwrap().map(|record| record.send)
    };
    let found = async |run_id| found_of(run_id, 0).await;

    assert_eq!(found("first").await, None);
    store
        .write_job_record(&record("first", 0, 1), Durability::Synced)
        .await
        .unwrap();
    assert_eq!(found("first").await, Some(1));
    assert_eq!(found("second").await, None, "of an earlier run of the id");
    store
        .write_job_record(&record("second", 0, 2), Durability::Unsynced)
        .await
        .unwrap();
    assert_eq!(found("second").await, Some(2));
    assert_eq!(found_of("second", 1).await, None, "of another candidate");
    store
        .write_job_record(&record("second", 1, 3), Durability::Synced)
        .await
        .unwrap();
    assert_eq!(found_of("second", 1).await, Some(3));
    assert_eq!(found("second").await, Some(2));
    assert_eq!(folder.names("store/r-1"), ["job-1.json", "job.json"]);
}
