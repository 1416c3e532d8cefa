//! Settings printed as TOML: the effective ones with their origin, and the commented reference of all there are.
//!
//! Both can be read back as a configuration file. `cli.rs` calls it.

use std::fmt::Write as _;

use super::file::sections;
use super::knobs::{Knob, knobs};
use super::{Config, Loaded};

/// The effective settings, each with where it came from. A password that is not the default stays hidden.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let mut out = "# The effective configuration, and where each value comes from.\n".to_owned();
    for section in sections() {
        let lines: Vec<(String, String)> =
            knobs_of(section).map(|knob| effective_line(loaded, knob)).collect();
        let width = lines.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0);
        let _ = writeln!(out, "\n[{section}]");
        for (setting, origin) in lines {
            let _ = writeln!(out, "{setting:width$}  # {origin}");
        }
    }
    out
}

/// The settings of a running broker, section by section. Secrets are hidden.
#[must_use]
pub fn running(config: &Config) -> String {
    let mut out = String::new();
    for section in sections() {
        let _ = writeln!(out, "{}[{section}]", if out.is_empty() { "" } else { "\n" });
        for knob in knobs_of(section) {
            let _ = if knob.secret {
                writeln!(out, "# {} is hidden", knob.name())
            } else {
                writeln!(out, "{} = {}", knob.name(), (knob.show)(config))
            };
        }
    }
    out
}

fn effective_line(loaded: &Loaded, knob: &Knob) -> (String, String) {
    match loaded.origins.get(knob.key) {
        Some(origin) if knob.secret => (format!("# {} is hidden", knob.name()), origin.to_string()),
        Some(origin) => (format!("{} = {}", knob.name(), (knob.show)(&loaded.config)), origin.to_string()),
        None => (format!("{} = {}", knob.name(), (knob.show)(&loaded.config)), "default".to_owned()),
    }
}

/// A configuration file with every setting, its meaning, valid values and default, all of it commented out.
#[must_use]
pub fn reference() -> String {
    let mut out = "\
# Every setting of warren. What is commented out is the default.
# Later sources win: this file (--config or WARREN_CONFIG), the environment, flags.
"
    .to_owned();
    let defaults = Config::default();
    for section in sections() {
        let _ = writeln!(out, "\n[{section}]");
        for knob in knobs_of(section) {
            out.push('\n');
            for line in knob.about {
                let _ = writeln!(out, "# {line}");
            }
            let _ = writeln!(out, "# Value: {}.", knob.expects);
            let flag = knob.flag.map_or_else(String::new, |flag| format!(", flag {flag}"));
            let _ = writeln!(out, "# Also: environment {}{flag}.", knob.env);
            let _ = writeln!(out, "# {} = {}", knob.name(), (knob.show)(&defaults));
        }
    }
    out
}

fn knobs_of(section: &str) -> impl Iterator<Item = &'static Knob> {
    knobs().filter(move |knob| knob.section() == section)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::Sources;
    use super::*;

    fn load(text: &str) -> Loaded {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Sources { file: Some(file.path().to_owned()), ..Sources::default() }.load().unwrap()
    }

    #[test]
    fn a_running_configuration_can_be_read_back_but_for_its_secrets() {
        let config =
            load("[auth]\nuser = \"alex\"\npassword = \"s3cret\"\n[limits]\nchannel_max = 7\n").config;
        let text = running(&config);
        assert!(!text.contains("s3cret"), "{text}");
        let expected = Config {
            auth: super::super::Auth { password: Config::default().auth.password, ..config.auth.clone() },
            ..config
        };
        assert_eq!(load(&text).config, expected);
    }

    #[test]
    fn the_reference_is_a_valid_file_with_and_without_its_comment_signs() {
        let reference = reference();
        assert_eq!(load(&reference).config, Config::default());

        let is_setting = |line: &str| knobs().any(|knob| line.starts_with(&format!("# {} = ", knob.name())));
        let uncommented: String = reference
            .lines()
            .map(|line| if is_setting(line) { &line[2..] } else { line })
            .fold(String::new(), |text, line| text + line + "\n");
        let loaded = load(&uncommented);
        assert_eq!(loaded.config, Config::default());
        assert_eq!(loaded.origins.len(), knobs().count());
    }

    #[test]
    fn the_effective_configuration_can_be_read_back() {
        let loaded = load("[listen]\nport = 7\nbind = [\"::1\"]\n[limits]\nmemory = \"64MiB\"\n");
        let printed = effective(&loaded);
        assert_eq!(load(&printed).config, loaded.config);
        assert!(printed.contains("port = 7"), "{printed}");
        assert!(printed.contains(":2\n"), "{printed}");
        assert!(printed.contains("channel_max = 2047"), "{printed}");
    }

    #[test]
    fn a_password_of_ones_own_is_not_printed() {
        let printed = effective(&load("auth.password = \"tulip\"\n"));
        assert!(!printed.contains("tulip"), "{printed}");
        assert!(printed.contains("password is hidden"), "{printed}");
        assert!(!format!("{:?}", load("auth.password = \"tulip\"\n")).contains("tulip"));
    }

    #[test]
    fn the_texts_of_the_reference_fit_a_terminal() {
        for knob in knobs() {
            for line in knob.about {
                assert!(line.chars().count() <= 105, "{}: {line}", knob.key);
            }
        }
    }
}
