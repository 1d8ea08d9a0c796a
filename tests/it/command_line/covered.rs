//! Which story runs each command and reads what it prints: a new command without a story fails here.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Command;
use genflow::operate::cli::command::command;

/// Each command, with the file and the story.
const STORIES: &[(&str, &str, &str)] = &[
    ("all", "command_line.rs", PAGES),
    ("budget", "command_line/shapes.rs", SHAPES),
    ("cancel", "command_line/many.rs", MANY),
    (
        "codec-server",
        "payloads/server.rs",
        "temporals_command_line_shows_a_history_through_the_codec_server",
    ),
    (
        "completions",
        "command_line.rs",
        "bash_completes_commands_and_options",
    ),
    ("config check", "command_line/settings.rs", CHECK),
    ("config show", "command_line/settings.rs", CHECK),
    (
        "console",
        "console.rs",
        "a_request_is_shown_from_its_start_to_its_files",
    ),
    ("costs", "command_line/shapes.rs", SHAPES),
    (
        "dev",
        "dev_faults.rs",
        "dev_reports_a_killed_engine_with_its_log",
    ),
    ("dlq list", "command_line/shapes.rs", SHAPES),
    ("dlq redrive", "command_line/shapes.rs", SHAPES),
    ("dlq show", "command_line/shapes.rs", SHAPES),
    ("doctor", "command_line/shapes.rs", SHAPES),
    (
        "get",
        "command_line.rs",
        "the_files_of_a_request_and_of_a_batch_are_copied_to_a_folder",
    ),
    ("health", "command_line.rs", PAGES),
    ("init", "command_line/settings.rs", INIT),
    ("intake", "command_line/terminal.rs", ROLES),
    (
        "list",
        "list.rs",
        "a_list_is_lines_for_people_and_for_programs",
    ),
    (
        "man",
        "command_line/terminal.rs",
        "man_pages_have_examples_and_exit_codes",
    ),
    (
        "models check",
        "models.rs",
        "a_check_without_a_provider_uses_genflows_own_schemas_and_prices",
    ),
    ("models list", "models.rs", MODELS),
    ("models show", "models.rs", MODELS),
    ("notifications list", "command_line.rs", NOTIFICATIONS),
    ("notifications resend", "command_line.rs", NOTIFICATIONS),
    ("notifications test", "command_line.rs", NOTIFICATIONS),
    ("notifier", "command_line/terminal.rs", ROLES),
    ("provider-sim", "command_line/terminal.rs", ROLES),
    ("replay", "command_line/shapes.rs", SHAPES),
    ("retry", "command_line/many.rs", MANY),
    ("secrets", "command_line/settings.rs", INIT),
    ("setup", "command_line/shapes.rs", SHAPES),
    ("status", "command_line.rs", REQUEST),
    ("submit", "command_line.rs", REQUEST),
    (
        "test",
        "dev.rs",
        "a_test_completes_the_samples_and_leaves_nothing_running",
    ),
    ("watch", "command_line.rs", REQUEST),
    ("webhook-secret", "command_line/shapes.rs", SHAPES),
    ("worker", "command_line/terminal.rs", ROLES),
];
/// Commands that no story runs, and why.
const NOT_RUN: &[(&str, &str)] = &[("bench", "it needs the whole machine for minutes")];

const PAGES: &str = "the_pages_show_health_and_metrics";
const SHAPES: &str = "json_is_as_the_reference_shows_it";
const MANY: &str = "many_requests_are_cancelled_and_retried_once_a_person_has_seen_how_many";
const CHECK: &str = "settings_are_shown_with_where_they_come_from_and_checked";
const INIT: &str = "init_asks_and_writes_a_file_that_only_its_user_can_read";
const MODELS: &str = "the_models_and_their_inputs_are_shown_by_command_with_and_without_a_provider";
const ROLES: &str = "a_role_says_that_it_has_started";
const NOTIFICATIONS: &str = "notifications_are_listed_sent_again_and_tested_by_command";
const REQUEST: &str = "a_request_is_submitted_watched_and_asked_for_by_command";

/// Returns the paths of all commands that users see.
fn commands(command: &Command, path: &str) -> Vec<String> {
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
    let below = shown.filter(|it| it.get_name() != "help");
    let found: Vec<_> = below
        .flat_map(|it| commands(it, format!("{path} {}", it.get_name()).trim()))
        .collect();
    match found.is_empty() {
        true => vec![path.to_owned()],
        false => found,
    }
}

pub(super) fn paths() -> BTreeSet<String> {
    commands(&command(), "").into_iter().collect()
}

#[test]
fn every_command_has_a_story_that_reads_its_output() {
    let told = STORIES.iter().map(|(command, ..)| *command);
    let told = told.chain(NOT_RUN.iter().map(|(command, _)| *command));
    let told: BTreeSet<_> = told.map(str::to_owned).collect();
    assert_eq!(told, paths());

    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for (command, file, story) in STORIES {
        let text = std::fs::read_to_string(stories.join(file)).unwrap();
        let begin = text.find(&format!("fn {story}("));
        assert!(begin.is_some(), "{command}: no {story} in {file}");
        let word = command.split(' ').next_back().unwrap();
        let quoted = [format!("{word}\""), format!(" {word} ")];
        assert!(
            quoted.iter().any(|it| text.contains(it)),
            "{command}: {file}"
        );
    }
}
