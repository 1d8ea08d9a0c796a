//! Sizes, classes and ratios are read in all their spellings.

use super::*;

#[test]
fn sizes_are_read_in_all_spellings() {
    let size = |text: &str| Pixels::of(&Value::from(text)).map(|pixels| pixels.to_string());

    for text in ["1280x720", "1280*720", "1280 * 720", "1280:720"] {
        assert_eq!(size(text).as_deref(), Some("1280x720"), "{text}");
    }
    for text in ["16:9", "auto", "1K", "x720"] {
        assert_eq!(size(text), None, "{text}");
    }
}

#[test]
fn a_class_means_lines_of_a_video_and_an_area_of_an_image() {
    let area = |side: f64| Some(Class::Area(side * side));

    assert_eq!(Class::of("768P", Media::Video), Some(Class::Lines(768.0)));
    assert_eq!(Class::of("4k", Media::Video), Some(Class::Lines(2160.0)));
    assert_eq!(Class::of("2K", Media::Video), Some(Class::Lines(1440.0)));
    assert_eq!(Class::of("2K", Media::Image), area(2048.0));
    assert_eq!(
        Class::of("0.5 MP", Media::Image),
        Some(Class::Area(500_000.0))
    );
    assert_eq!(Class::of_megapixels("1"), Some(Class::Area(1e6)));
    assert_eq!(Class::of("1", Media::Image), None);
    for text in ["1", "auto", "high", "optimize_for_speed", "2p"] {
        assert_eq!(Class::of(text, Media::Video), None, "{text}");
    }
}

#[test]
fn ratios_are_written_in_small_numbers() {
    for (ratio, text) in [
        (16.0 / 9.0, "16:9"),
        (1.0, "1:1"),
        (9.0 / 21.0, "3:7"),
        (1344.0 / 768.0, "7:4"),
    ] {
        assert_eq!(in_smallest_numbers(ratio), text);
    }
}
