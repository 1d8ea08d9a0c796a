//! The fenced blocks of a page, and the commands in them.

use std::path::Path;

/// A block of code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// As the page names it; empty: it shows what a program prints.
    pub(super) language: String,
    pub(super) text: String,
}

/// Returns the blocks of a page, by its path in the checkout.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    parse(&std::fs::read_to_string(path).unwrap())
}

fn parse(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        let fence = line.trim_start().strip_prefix("```");
        if let Some(mut block) = open.take() {
            if fence.is_some() {
                blocks.push(block);
                continue;
            }
            block.text += line;
            block.text.push('\n');
            open = Some(block);
        } else if let Some(language) = fence {
            open = Some(Block {
                language: language.to_owned(),
                text: String::new(),
            });
        } else {
            assert!(!line.starts_with("    "), "code without a fence: {line}");
        }
    }
    assert_eq!(open, None, "a block has no end");
    blocks
}

/// Returns the commands of a block for a shell, without comments. A here-document belongs to its command.
pub(super) fn commands(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let line = line.split(" # ").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((_, mark)) = line.split_once("<<'") else {
            commands.extend(line.split("; ").map(str::to_owned));
            continue;
        };
        let mark = mark.trim_end_matches('\'');
        let mut command = line.to_owned();
        loop {
            let line = lines.next().expect("the here-document has an end");
            command = format!("{command}\n{line}");
            if line == mark {
                break;
            }
        }
        commands.push(command);
    }
    commands
}

#[test]
fn blocks_are_read_with_their_language() {
    let page = "# A\n\n```sh\ncargo dev\n```\n\nText.\n\n```\nready\n\n# no heading\n```\n";

    let block = |language: &str, text: &str| Block {
        language: language.to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(
        parse(page),
        [
            block("sh", "cargo dev\n"),
            block("", "ready\n\n# no heading\n")
        ]
    );
}

#[test]
fn commands_are_read_without_comments() {
    let block = "# First\na --b \"c\"    # d\n\ncat > f <<'END'\n{\"g\": 1}\nEND\nh ID; i ID\n";

    assert_eq!(
        commands(block),
        [
            "a --b \"c\"",
            "cat > f <<'END'\n{\"g\": 1}\nEND",
            "h ID",
            "i ID"
        ]
    );
}
