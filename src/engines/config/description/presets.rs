//! The descriptions that genflow has: `schemas/providers`. A test reads them.

/// The presets, by name.
pub const PRESETS: [(&str, &str); 5] = [
    (
        "bfl",
        include_str!("../../../../schemas/providers/bfl.toml"),
    ),
    (
        "comfyui",
        include_str!("../../../../schemas/providers/comfyui.toml"),
    ),
    (
        "google",
        include_str!("../../../../schemas/providers/google.toml"),
    ),
    (
        "luma",
        include_str!("../../../../schemas/providers/luma.toml"),
    ),
    (
        "runway",
        include_str!("../../../../schemas/providers/runway.toml"),
    ),
];
