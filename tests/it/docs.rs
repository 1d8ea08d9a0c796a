//! Checks the documentation: its links, its index, the length of the README, and that each metric and each alert is
//! described.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The README is a welcome: what is longer belongs in `docs/`.
const README_LINES: usize = 220;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    let path = root().join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the Markdown files in a folder, by their paths from the root.
fn pages_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|it| it == "md"));
    pages
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect()
}

fn pages_of_docs() -> BTreeSet<PathBuf> {
    let mut pages: BTreeSet<_> = pages_in("docs").into_iter().collect();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            pages.extend(pages_in(&format!(
                "docs/{}",
                entry.file_name().to_str().unwrap()
            )));
        }
    }
    pages
}

/// Returns the lines of a page that are not in a block of code.
fn prose(page: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line);
        }
    }
    lines
}

/// Returns the targets of the links and images in a paragraph.
fn targets(paragraph: &str) -> Vec<String> {
    // The even pieces are outside of code.
    let outside: String = paragraph.split('`').step_by(2).collect();
    let links = outside.split("](").skip(1);
    links
        .map(|rest| rest.split(')').next().unwrap_or_default().to_owned())
        .collect()
}

/// Returns the anchors that GitHub gives to the headings of a page.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let text = line.trim_start_matches('#');
        let level = line.len() - text.len();
        if !(1..=6).contains(&level) || !text.starts_with(' ') {
            continue;
        }
        let slug = slug(text);
        let repeats = seen.entry(slug.clone()).or_default();
        anchors.insert(match *repeats {
            0 => slug,
            times => format!("{slug}-{times}"),
        });
        *repeats += 1;
    }
    anchors
}

/// Lower case; letters, digits, `-` and `_` stay, spaces become `-`, and everything else goes.
fn slug(heading: &str) -> String {
    let shown = heading.trim().to_lowercase();
    let kept = shown
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the file that a link of `page` names, from the root, and its anchor. `None` if it leads elsewhere.
fn target_of(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    let mut file = PathBuf::new();
    for part in page.parent().unwrap().join(path).components() {
        match part {
            Component::ParentDir => assert!(file.pop(), "{}: {link}", page.display()),
            Component::CurDir => {}
            part => file.push(part),
        }
    }
    Some((file, anchor))
}

/// Returns what is wrong with a link of a page.
fn fault(page: &Path, link: &str) -> Option<String> {
    let (file, anchor) = target_of(page, link)?;
    if link.is_empty() || !root().join(&file).exists() {
        return Some(format!("{}: no file for {link:?}", page.display()));
    }
    let anchor = anchor?;
    let known = anchors(&read(&file));
    (!known.contains(&anchor)).then(|| format!("{}: no heading for {link:?}", page.display()))
}

fn links(page: &Path) -> Vec<String> {
    let text = prose(&read(page)).join("\n");
    // A line may begin within a code span, a paragraph may not.
    text.split("\n\n").flat_map(targets).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut pages = pages_of_docs();
    pages.extend(pages_in("."));
    pages.extend(pages_in(".github"));
    pages.extend(pages_in("examples"));
    let faults: Vec<_> = pages
        .iter()
        .flat_map(|page| links(page).into_iter().map(move |link| (page, link)))
        .filter_map(|(page, link)| fault(page, &link))
        .collect();

    assert!(pages.len() > 30, "{pages:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_can_be_reached_from_the_index() {
    let mut found = BTreeSet::new();
    let mut ahead = vec![PathBuf::from("docs/README.md")];
    while let Some(page) = ahead.pop() {
        if !found.insert(page.clone()) {
            continue;
        }
        let leads_to = links(&page)
            .into_iter()
            .filter_map(|link| target_of(&page, &link));
        ahead.extend(leads_to.map(|(file, _)| file).filter(|file| {
            file.starts_with("docs") && file.extension().is_some_and(|it| it == "md")
        }));
    }

    let lost: Vec<_> = pages_of_docs().difference(&found).cloned().collect();
    assert!(
        lost.is_empty(),
        "no link leads from docs/README.md to {lost:?}"
    );
}

#[test]
fn the_readme_is_short() {
    let lines = read(Path::new("README.md")).lines().count();

    assert!(lines <= README_LINES, "README.md has {lines} lines");
}

#[test]
fn every_metric_is_described() {
    let page = read(Path::new("docs/operating/metrics.md"));
    let folder = Path::new("src/engines/telemetry");
    let sources = ["metrics/catalogue.rs", "process.rs"].map(|file| read(&folder.join(file)));
    let names = sources.iter().flat_map(|source| source.split('"'));
    let names = names.filter(|text| {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_ours = text.starts_with("genflow_") || text.starts_with("process_");
        is_ours && text.chars().all(is_name)
    });
    let names: BTreeSet<_> = names.collect();

    let lost: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .collect();
    assert!(names.len() > 60, "{names:?}");
    assert!(lost.is_empty(), "docs/operating/metrics.md lacks {lost:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split('`').next());
    let rows = rows.filter(|name| name.starts_with("genflow_") || name.starts_with("process_"));
    let gone: Vec<_> = rows.filter(|name| !names.contains(name)).collect();
    assert!(gone.is_empty(), "no longer metrics: {gone:?}");
}

#[test]
fn every_alert_has_a_section_with_its_first_three_commands() {
    let page = read(Path::new("docs/operating/alerts.md"));
    let known = anchors(&page);
    let rules = read(Path::new("grafana/alerts.yml"));
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<_> = names.collect();

    let lost: Vec<_> = names
        .iter()
        .filter(|name| !known.contains(&slug(name)))
        .collect();
    assert!(names.len() > 25, "{names:?}");
    assert!(lost.is_empty(), "docs/operating/alerts.md lacks {lost:?}");
    for section in page.split("\n### ").skip(1) {
        let (name, text) = section.split_once('\n').unwrap();
        assert!(names.contains(&name), "{name} is no alert");
        let commands = text.split("```").nth(1).unwrap_or_default();
        let commands = commands.lines().filter(|line| !line.is_empty());
        assert_eq!(commands.count(), 3, "{name}");
    }
}

#[test]
fn headings_and_links_are_read_as_github_does() {
    let page =
        "# A `page`, with 2 words\n## Twice\n## Twice\n```\n# no heading\n```\n#no heading\n";

    let expected = ["a-page-with-2-words", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
    assert_eq!(
        targets("[`a`](b.md#c), ![d](e.png) and `[f](g)`"),
        ["b.md#c", "e.png"]
    );
    let page = Path::new("docs/operating/kafka.md");
    let file = |link| target_of(page, link).map(|(file, _)| file);
    assert_eq!(
        file("../events.md#errors"),
        Some(PathBuf::from("docs/events.md"))
    );
    assert_eq!(file("#here"), Some(page.to_owned()));
    assert_eq!(file("https://example.com/a.md"), None);
}
