//! The flag for which files of folders are read.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::config::InFolders;

#[derive(Debug, Args)]
pub(super) struct FolderFlags {
    /// Which files of a folder are limits files: yaml, visible or all.
    ///
    /// yaml means *.yaml and *.yml without a dot before their names, not in subfolders. With visible and all, whatever
    /// is in the folder and below is a limits file; visible leaves out names that begin with a dot. A file that is
    /// reached by two names is read once.
    #[arg(long, env = "TOLLGATE_CONFIG_FOLDER", value_name = "FILES", default_value = "yaml",
        hide_possible_values = true, ignore_case = true, value_parser = in_folders())]
    pub(super) config_folder: InFolders,
}

fn in_folders() -> impl TypedValueParser<Value = InFolders> {
    PossibleValuesParser::new(["yaml", "visible", "all"]).map(|word| {
        match word.to_ascii_lowercase().as_str() {
            "all" => InFolders::All,
            "visible" => InFolders::Visible,
            _ => InFolders::Yaml,
        }
    })
}
