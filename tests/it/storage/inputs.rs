//! Input files on the disk of the person who submits: the provider reads them from the bucket.

use genflow::domain::EventType;

use super::{folder, with_bucket};
use crate::support::Space;
use crate::support::s3::BUCKET;

/// The beginning of a picture of one pixel: what tells its format and size.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde";

const KLING: &str = "kwaivgi/kling-v3-video";

fn submit<'a>(id: &'a str, input: &'a str) -> Vec<&'a str> {
    let flags = [
        "submit",
        "video",
        "--prompt",
        "a fox",
        "--duration",
        "5",
        "--model",
        KLING,
    ];
    [&flags[..], &["--id", id, "--input", input]].concat()
}

#[tokio::test]
async fn a_local_input_file_is_stored_once_and_the_provider_gets_a_url_of_its_bytes() {
    let (space, s3) = with_bucket(&[("DOWNLOAD_ALLOW_PRIVATE", "true")]).await;
    let _all = space.start(&["all"]);
    let frame = folder();
    std::fs::create_dir_all(&frame).unwrap();
    let frame = frame.join("frame=1.png");
    std::fs::write(&frame, PICTURE).unwrap();
    let input = format!("first_frame={}", frame.display());

    let checked = space
        .succeed(&[&submit("dry", &input)[..], &["--dry-run"]].concat())
        .await;
    assert!(checked.contains("start_image"), "{checked}");
    assert_eq!(s3.keys(), [""; 0]);
    for id in ["local-1", "local-2"] {
        space.succeed(&submit(id, &input)).await;
        let events = space.story(id).await;
        assert_eq!(events.last().unwrap().event_type, EventType::Completed);
    }

    let stored: Vec<_> = s3
        .keys()
        .into_iter()
        .filter(|key| key.contains("/inputs/"))
        .collect();
    assert_eq!(stored.len(), 1, "{stored:?}");
    for id in ["local-1", "local-2"] {
        let jobs = space.jobs(id).await;
        let url = jobs[0]["input"]["start_image"].as_str().unwrap();
        assert!(url.contains(&format!("/{BUCKET}/{}?", stored[0])), "{url}");
        let read = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        assert_eq!(read, PICTURE);
    }
}

#[tokio::test]
async fn a_local_input_file_that_no_provider_could_use_is_one_clear_error() {
    let space = Space::new().await;
    let at = folder();
    std::fs::create_dir_all(&at).unwrap();
    let [picture, text] =
        ["frame.png", "notes.txt"].map(|name| at.join(name).display().to_string());
    std::fs::write(&picture, PICTURE).unwrap();
    std::fs::write(&text, "no picture").unwrap();
    let absent = at.join("absent.png").display().to_string();

    for (input, problem) in [
        (
            &picture,
            "a provider cannot read the results folder; set S3_BUCKET, or give a URL",
        ),
        (&text, "is not a picture or a video"),
        (&absent, "is neither a file here nor an http or https URL"),
    ] {
        let (code, said) = space.run(&submit("refused", input)).await;

        assert_eq!(code, 64, "{said}");
        assert!(
            said.contains(input.as_str()) && said.contains(problem),
            "{said}"
        );
    }
}
