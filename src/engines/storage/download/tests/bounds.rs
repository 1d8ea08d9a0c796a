//! Tests the bounds of a download: time, bytes, and the reads of its check.

use super::*;

#[tokio::test]
async fn the_outputs_of_a_run_have_a_bound_together() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let (base, size) = (own.at("v1"), picture().len() as u64);
    let source = Source::Open(own.at("file"));

    let fits = fetch_within(&downloader, &base, &source, size).await;
    let does_not = fetch_within(&downloader, &base, &source, size - 1).await;

    assert_eq!(fits.unwrap(), size);
    assert!(matches!(does_not, Err(Error::Invalid(_))));
}

/// Sends single bytes forever.
async fn trickle() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        client.write_all(head).await.unwrap();
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    url.parse().unwrap()
}

#[tokio::test]
async fn a_download_that_never_ends_is_given_up() {
    let (mut downloader, own) = (downloader(true), Server::start().await);
    downloader.timeout = Duration::from_millis(300);

    let fetched = fetch(&downloader, &own, &Source::Open(trickle().await)).await;

    let Err(Error::Unavailable(why)) = fetched else {
        panic!("{fetched:?}");
    };
    assert!(why.contains("did not arrive within"), "{why}");
}

#[tokio::test]
async fn a_download_that_trickles_is_given_up() {
    let (mut downloader, own) = (downloader(true), Server::start().await);
    downloader.silence = Duration::ZERO;

    let fetched = fetch(&downloader, &own, &Source::Open(trickle().await)).await;

    let Err(Error::Unavailable(why)) = fetched else {
        panic!("{fetched:?}");
    };
    assert!(why.contains("at less than"), "{why}");
}

#[test]
fn a_server_has_a_minute_and_then_a_lowest_pace() {
    let slow = |bytes, seconds| is_too_slow(bytes, Duration::from_secs(seconds), SILENCE);

    assert!(!slow(0, 60) && slow(0, 61));
    assert!(!slow(SLOWEST, 61) && slow(SLOWEST - 1, 61));
    assert!(!slow(SLOWEST * 840, 900) && slow(SLOWEST * 839, 900));
}

#[tokio::test]
async fn bytes_that_came_with_an_answer_are_decoded_piece_by_piece() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let inline = |bytes: &[u8]| Source::Inline(BASE64.encode(bytes));
    let mut large = picture();
    large.resize(ENCODED * 3 / 4 + 5, 7);

    let mut roomy = downloader.clone();
    roomy.max_output_bytes = u64::MAX;
    assert_eq!(
        fetch(&roomy, &own, &inline(&large)).await.unwrap(),
        large.len() as u64
    );
    let folder = folder();
    let into = file(folder.join("0"));
    let found = roomy
        .fetch(&own.url, &inline(&large), into, u64::MAX)
        .await
        .unwrap();
    assert_eq!(std::fs::read(found.file.path()).unwrap(), large);
    std::fs::remove_dir_all(folder).unwrap();

    let too_large = fetch(&downloader, &own, &inline(&large)).await;
    assert!(matches!(too_large, Err(Error::Invalid(_))));
    let data = format!("data:image/png;base64,{}", BASE64.encode(picture()));
    let data = Source::Open(data.parse().unwrap());
    assert_eq!(
        fetch(&downloader, &own, &data).await.unwrap(),
        picture().len() as u64
    );
    for odd in ["AA=", "A A=", "é"] {
        let fetched = fetch(&downloader, &own, &Source::Inline(odd.to_owned())).await;
        assert!(matches!(fetched, Err(Error::Invalid(_))), "{odd}");
    }
}

/// Films that made one MP4 parser abort and another loop forever.
#[tokio::test]
async fn films_that_cannot_be_measured_are_stored_without_measures() {
    let downloader = downloader(true);
    let abort = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAABkbW9vdgAAAFxtZXRhAAAAAAAAAAFoZGxyAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let endless = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAAAQbW9vdgAAAABmcmVl";
    for film in [abort, endless] {
        let folder = folder();
        let base = "http://localhost/".parse().unwrap();
        let source = Source::Inline(film.to_owned());
        let found = downloader
            .fetch(&base, &source, file(folder.join("0")), 1000)
            .await;

        let checked = downloader
            .check(found.unwrap(), Media::Video)
            .await
            .unwrap();

        let unknown = media::Format {
            content_type: "video/mp4",
            extension: "mp4",
            width: None,
            height: None,
            duration_seconds: None,
        };
        assert_eq!(checked.format, unknown);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// A JPEG has its size after any number of segments.
#[tokio::test]
async fn a_picture_is_not_searched_for_its_size_for_ever() {
    let downloader = downloader(true);
    let measured = async |segments: usize| {
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend([0xff, 0xe1, 0, 4, 0, 0].repeat(segments));
        bytes.extend([
            0xff, 0xc0, 0, 17, 8, 0, 3, 0, 5, 3, 1, 0, 0, 2, 0, 0, 3, 0, 0,
        ]);
        let folder = folder();
        let path = folder.join("0");
        std::fs::write(&path, &bytes).unwrap();
        let found = Downloaded {
            file: file(path),
            bytes: bytes.len() as u64,
            sha256: String::new(),
        };
        let checked = downloader.check(found, Media::Image).await.unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        (checked.format.width, checked.format.height)
    };

    assert_eq!(measured(1).await, (Some(5), Some(3)));
    assert_eq!(measured(100_000).await, (Some(5), Some(3)));
    assert_eq!(measured(200_000).await, (None, None));
}
