//! How the progress and the outputs of a prediction are read.

use super::*;

#[test]
fn progress_is_read_from_the_last_bar_of_the_log() {
    assert_eq!(percent("  5%|#   |\n 45%|####"), Some(45));
    assert_eq!(percent("100%|####"), Some(100));
    assert_eq!(percent("no bar"), None);
    assert_eq!(percent("9999%"), None);
}

#[test]
fn outputs_come_as_one_url_a_list_or_an_object() {
    let one = json!("https://a/1");
    let many = json!(["https://a/1", "https://a/2"]);
    let named = json!({"video": "https://a/1", "seed": 7});

    assert_eq!(
        [one, many, named].map(|output| outputs(&output).len()),
        [1, 2, 1]
    );
}
