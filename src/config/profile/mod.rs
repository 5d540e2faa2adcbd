//! AWS's shared configuration and credentials files: their locations and their profiles. The module also reads AWS's variables
//! about credentials, because they decide which source is used. It makes no network requests.
//!
//! The exporter reads these files itself, by the rules of botocore. `aws-config` rejects a whole file for content that other
//! clients accept, and does not report the reason.

mod parse;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::parse::{Property, Section, SyntaxError, parse};

pub(crate) use self::parse::words;

use crate::model::printable;

/// Names the file with the token that a container's credentials service requires.
pub(crate) const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const CONFIG_FILE: &str = "AWS_CONFIG_FILE";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// In order of precedence. The second one exists only in botocore.
const PROFILE_VARIABLES: [&str; 2] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

const DEFAULT: &str = "default";

/// The maximum number of profiles that an error lists.
const MAX_NAMES: usize = 10;

/// AWS's variables about credentials. An empty variable counts as unset.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    config: Option<SharedFile>,
    credentials: Option<SharedFile>,
    /// The selected profile, and the variable that names it.
    selected: Option<(&'static str, String)>,
    /// Whether the access key id is set, and whether its secret is set.
    key: (bool, bool),
    web_identity_token_file: Option<PathBuf>,
    role_arn: Option<String>,
    role_session_name: Option<String>,
    /// The URL of a container's credentials service, or only its path, depending on the variable.
    container_uri: Option<String>,
    /// A variable that is set but empty. It hides another variable from `aws-config`, which reads the environment itself.
    hides_container: Option<&'static str>,
    container_token_file: Option<PathBuf>,
    metadata_endpoint: Option<String>,
    metadata_endpoint_mode: Option<String>,
}

impl fmt::Debug for AwsEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs are left out because they may contain a password.
        let Self { config, credentials, selected, .. } = self;
        f.debug_struct("AwsEnvironment")
            .field("config", config)
            .field("credentials", credentials)
            .field("selected", selected)
            .finish_non_exhaustive()
    }
}

/// A role to assume with the token in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    pub token_file: PathBuf,
    pub role_arn: String,
    /// The name of the session.
    pub session_name: Option<String>,
}

/// The configuration file or the credentials file.
#[derive(Debug, Clone)]
struct SharedFile {
    path: PathBuf,
    variable: &'static str,
    /// Whether the variable is set. A missing file is an error only if the variable names it.
    is_named: bool,
}

/// Why a file or a profile cannot be used. It contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// The variable that names the file or the profile.
    pub variable: &'static str,
    /// The value of that variable, if it is set.
    pub value: Option<String>,
    /// The file, the line, what is wrong, and what to do.
    pub problem: String,
}

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    file: Arc<str>,
    line: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// A value and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Never empty.
    pub text: String,
    pub position: Position,
    /// Whether the value is from the credentials file.
    pub is_of_credentials_file: bool,
}

/// The file that a property is from.
#[derive(Debug, Clone)]
struct Origin {
    file: Arc<str>,
    is_credentials: bool,
}

/// The profiles of both files.
#[derive(Clone, Default)]
pub struct Profiles {
    selected: String,
    by_name: BTreeMap<String, Profile>,
    sso_sessions: BTreeMap<String, Profile>,
    services: BTreeMap<String, Profile>,
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values are left out because they may be secret.
        f.debug_struct("Profiles").field("profiles", &self.by_name.keys()).finish_non_exhaustive()
    }
}

/// A profile, or another section that a profile names.
#[derive(Clone)]
pub struct Profile {
    pub name: String,
    /// The position of its header.
    pub position: Position,
    /// Each property with its file.
    properties: BTreeMap<String, (Origin, Property)>,
}

impl AwsEnvironment {
    /// Reads the variables. An empty variable counts as unset. By default the files are in the folder `.aws` of `HOME`.
    pub fn of(variables: &[(OsString, OsString)]) -> Self {
        let set = |name: &str| {
            let (_, value) = variables.iter().find(|(variable, _)| variable == name)?;
            (!is_blank(value)).then_some(value.as_os_str())
        };
        let home = set("HOME").map(PathBuf::from);
        let file = |variable, default: &str| {
            let named = set(variable).map(|path| in_home(Path::new(path), home.as_deref()));
            let is_named = named.is_some();
            let path = named.or_else(|| Some(home.as_ref()?.join(".aws").join(default)))?;
            Some(SharedFile { path, variable, is_named })
        };
        let text = |name| Some(set(name)?.to_string_lossy().trim().to_owned());
        let hides = |name: &str, other: &str| {
            variables.iter().any(|(variable, _)| variable == name)
                && set(name).is_none()
                && set(other).is_some()
        };
        Self {
            config: file(CONFIG_FILE, "config"),
            credentials: file(CREDENTIALS_FILE, "credentials"),
            selected: PROFILE_VARIABLES.into_iter().find_map(|variable| Some((variable, text(variable)?))),
            key: (
                set("AWS_ACCESS_KEY_ID").is_some(),
                set("AWS_SECRET_ACCESS_KEY").or_else(|| set("SECRET_ACCESS_KEY")).is_some(),
            ),
            web_identity_token_file: set("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from),
            role_arn: text("AWS_ROLE_ARN"),
            role_session_name: text("AWS_ROLE_SESSION_NAME"),
            container_uri: text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
                .or_else(|| text("AWS_CONTAINER_CREDENTIALS_FULL_URI")),
            hides_container: [
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                (CONTAINER_TOKEN_FILE, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                (CONTAINER_TOKEN_FILE, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            ]
            .into_iter()
            .find_map(|(name, other)| hides(name, other).then_some(name)),
            container_token_file: set(CONTAINER_TOKEN_FILE).map(PathBuf::from),
            metadata_endpoint: text("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            metadata_endpoint_mode: text("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
        }
    }

    /// Whether the variables contain an access key. An access key id without its secret is an error.
    pub fn has_key(&self) -> Result<bool, String> {
        match self.key {
            (true, false) => {
                Err("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY; set both or neither".to_owned())
            }
            (has_key, _) => Ok(has_key),
        }
    }

    /// The role to assume with the token of the workload.
    pub fn web_identity(&self) -> Result<Option<WebIdentity>, String> {
        let Some(token_file) = self.web_identity_token_file.clone() else { return Ok(None) };
        let Some(role_arn) = self.role_arn.clone() else {
            return Err(
                "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN; set both or neither".to_owned()
            );
        };
        Ok(Some(WebIdentity { token_file, role_arn, session_name: self.role_session_name.clone() }))
    }

    /// The URL of the container's credentials service, or only its path, depending on the variable.
    pub fn container_uri(&self) -> Option<&str> {
        self.container_uri.as_deref()
    }

    /// A variable that is set but empty, and keeps `aws-config` from asking the container's credentials service.
    pub fn hides_container(&self) -> Option<&'static str> {
        self.hides_container
    }

    /// The file with the token that the container's credentials service requires.
    pub fn container_token_file(&self) -> Option<&Path> {
        self.container_token_file.as_deref()
    }

    /// The URL of the instance metadata service.
    pub fn metadata_endpoint(&self, profile: Option<&Profile>) -> String {
        let of_profile = |name: &str| Some(profile?.get(name)?.text);
        let endpoint = self.metadata_endpoint.clone().or_else(|| of_profile("ec2_metadata_service_endpoint"));
        let mode =
            self.metadata_endpoint_mode.clone().or_else(|| of_profile("ec2_metadata_service_endpoint_mode"));
        let is_ipv6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let default = if is_ipv6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
        endpoint.unwrap_or_else(|| default.to_owned())
    }

    /// Reads both files.
    pub fn read(&self) -> Result<Profiles, Vec<Error>> {
        let mut profiles = Profiles { selected: self.name().to_owned(), ..Profiles::default() };
        let mut errors = Vec::new();
        let mut misplaced = Vec::new();
        for (file, is_config) in [(&self.config, true), (&self.credentials, false)] {
            let Some(file) = file else { continue };
            match file.sections() {
                Ok((name, sections)) => profiles.add(&name, sections, is_config, &mut misplaced),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty()
            && let Some((variable, name)) = &self.selected
            && name != DEFAULT
            && !profiles.by_name.contains_key(name)
        {
            let problem = self.without_profile(name, &profiles, &misplaced);
            errors.push(Error { variable, value: Some(name.clone()), problem });
        }
        if errors.is_empty() { Ok(profiles) } else { Err(errors) }
    }

    fn name(&self) -> &str {
        self.selected.as_ref().map_or(DEFAULT, |(_, name)| name)
    }

    /// The problem to report when the files do not contain the selected profile.
    fn without_profile(&self, name: &str, profiles: &Profiles, misplaced: &[(String, Position)]) -> String {
        let files: Vec<_> =
            [&self.config, &self.credentials].into_iter().flatten().map(|file| shown(&file.path)).collect();
        let files = if files.is_empty() { "no file is known".to_owned() } else { files.join(" nor ") };
        let mut problem = format!("the profile is neither in {files}");
        if let Some((header, position)) = misplaced.iter().find(|(header, _)| header.ends_with(name)) {
            let right = if header == name { format!("profile {name}") } else { name.to_owned() };
            problem.push_str(&format!("; {position} has [{}], write [{}]", escaped(header), escaped(&right)));
            return problem;
        }
        let names: Vec<_> = profiles.by_name.keys().take(MAX_NAMES).map(|name| escaped(name)).collect();
        let more = if profiles.by_name.len() > MAX_NAMES { " and others" } else { "" };
        problem.push_str(&if names.is_empty() {
            format!("; set {CONFIG_FILE} to the file that has it, or add [profile {}]", escaped(name))
        } else {
            format!("; set it to one of these: {}{more}", names.join(", "))
        });
        problem
    }
}

impl SharedFile {
    /// The sections of the file, and its name for errors. A missing file has no sections, as in AWS's clients.
    fn sections(&self) -> Result<(Arc<str>, BTreeMap<String, Section>), Error> {
        let name: Arc<str> = shown(&self.path).into();
        let error = |problem| Error { variable: self.variable, value: None, problem };
        let bytes = match self.bytes() {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                let cure = if source.kind() == io::ErrorKind::IsADirectory {
                    "name the file itself"
                } else {
                    "let the exporter's user read it, or name another file"
                };
                return Err(error(format!("{name} cannot be read ({}); {cure}", reason(&source))));
            }
        };
        match parse(&bytes) {
            Ok(sections) => Ok((name, sections)),
            Err(wrong) => Err(error(format!("{name}, line {}: {wrong}", wrong.line))),
        }
    }

    /// Reads the file, but at most one byte more than the limit.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let kind = std::fs::metadata(&self.path)?;
        if kind.is_dir() && self.is_named {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if kind.is_file() { read_file(&self.path, parse::MAX_BYTES + 1) } else { Ok(Vec::new()) }
    }
}

/// Reads the first `limit` bytes of a regular file. Other files are refused, because opening a pipe could block forever.
pub(crate) fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Profiles {
    /// The selected profile, if it exists.
    pub fn selected(&self) -> Option<&Profile> {
        self.get(&self.selected)
    }

    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.by_name.get(name)
    }

    /// The section `[sso-session NAME]`.
    pub fn sso_session(&self, name: &str) -> Option<&Profile> {
        self.sso_sessions.get(name)
    }

    /// The section `[services NAME]`.
    pub fn services(&self, name: &str) -> Option<&Profile> {
        self.services.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = &Profile> {
        self.by_name.values()
    }

    /// Adds the sections of a file. The credentials file must be added last, because its properties override those of the
    /// configuration file.
    fn add(
        &mut self,
        file: &Arc<str>,
        sections: BTreeMap<String, Section>,
        is_config: bool,
        misplaced: &mut Vec<(String, Position)>,
    ) {
        for (header, section) in sections {
            let position = Position { file: Arc::clone(file), line: section.line };
            let (kind, name) =
                if is_config { kind_and_name(&header) } else { (Kind::Profile, header.clone()) };
            let of_kind = match kind {
                Kind::Profile => &mut self.by_name,
                Kind::SsoSession => &mut self.sso_sessions,
                Kind::Services => &mut self.services,
                Kind::Other => {
                    misplaced.push((header, position));
                    continue;
                }
            };
            if !is_config && header.starts_with("profile ") {
                misplaced.push((header.clone(), position.clone()));
            }
            let origin = Origin { file: Arc::clone(file), is_credentials: !is_config };
            let properties =
                section.properties.into_iter().map(|(name, property)| (name, (origin.clone(), property)));
            let profile = of_kind.entry(name).or_insert_with_key(|name| Profile {
                name: name.clone(),
                position,
                properties: BTreeMap::new(),
            });
            // `[default]` is added before `[profile default]`, whose properties override it.
            profile.properties.extend(properties);
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Profile,
    SsoSession,
    Services,
    Other,
}

/// Returns the kind and the name of a section of the configuration file.
fn kind_and_name(header: &str) -> (Kind, String) {
    match words(header).as_deref() {
        Some([name]) if name == DEFAULT => (Kind::Profile, DEFAULT.to_owned()),
        Some([kind, name]) => match kind.as_str() {
            "profile" => (Kind::Profile, name.clone()),
            "sso-session" => (Kind::SsoSession, name.clone()),
            "services" => (Kind::Services, name.clone()),
            _ => (Kind::Other, header.to_owned()),
        },
        _ => (Kind::Other, header.to_owned()),
    }
}

impl Profile {
    /// The name for display.
    pub fn shown_name(&self) -> String {
        escaped(&self.name)
    }

    /// The value of a property. `None` if the property is empty or absent.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.read(name, Property::value)
    }

    /// Like [`Profile::get`], but keeps text that looks like a comment.
    pub fn verbatim(&self, name: &str) -> Option<Value> {
        self.read(name, Property::verbatim)
    }

    /// The value of a property within a property.
    pub fn nested(&self, name: &str, inner: &str) -> Option<Value> {
        let (origin, property) = self.properties.get(name)?;
        let (text, line) = property.nested(inner)?;
        Value::new(text, origin, line)
    }

    fn read(&self, name: &str, text: impl Fn(&Property) -> String) -> Option<Value> {
        let (origin, property) = self.properties.get(name)?;
        Value::new(text(property), origin, property.line)
    }
}

impl Value {
    fn new(text: String, origin: &Origin, line: usize) -> Option<Self> {
        let position = Position { file: Arc::clone(&origin.file), line };
        (!text.is_empty()).then_some(Self { text, position, is_of_credentials_file: origin.is_credentials })
    }
}

pub(super) fn is_blank(text: &OsStr) -> bool {
    text.to_str().is_some_and(|text| text.trim().is_empty())
}

/// Replaces `~` at the start of the path by the home directory.
fn in_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// A path for error messages.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&printable::path(&path.display().to_string()))
}

/// Removes control characters and anything that looks like a key, and shortens the text.
pub(crate) fn escaped(text: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    let short: String = printable::without_keys(text).chars().take(MAX_CHARACTERS).collect();
    short.escape_debug().to_string()
}

/// The message of the operating system, without the error number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Creates a home directory with these two files.
    fn home(config: &str, credentials: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".aws");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("credentials"), credentials).unwrap();
        home
    }

    fn read(home: &tempfile::TempDir, more: &[(&str, &str)]) -> Result<Profiles, Vec<Error>> {
        let home = [("HOME", home.path().to_str().unwrap())];
        AwsEnvironment::of(&variables(&[&home, more].concat())).read()
    }

    fn region(profiles: &Profiles) -> Option<String> {
        profiles.selected()?.get("region").map(|value| value.text)
    }

    #[test]
    fn profiles_are_found_by_any_spelling_of_their_names() {
        let home = home(
            "[default]\nregion = a\n[profile \"with blank\"]\nregion = b\n[profile 'c']\nregion = c\n[sso-session s]\n\
             sso_region = d\n[services local]\npinpoint =\n  endpoint_url = http://e\n[profile default]\nregion = f\n",
            "[plain]\nregion = g\n[c]\nregion = h\n",
        );
        for (name, expected) in [("", "f"), (" ", "f"), ("with blank", "b"), ("plain", "g"), ("c", "h")] {
            let profiles = read(&home, &[("AWS_PROFILE", name)]).unwrap();
            assert_eq!(region(&profiles).as_deref(), Some(expected), "{name}");
        }
        let profiles = read(&home, &[("AWS_DEFAULT_PROFILE", "plain")]).unwrap();
        assert_eq!(region(&profiles).as_deref(), Some("g"));
        assert_eq!(profiles.sso_session("s").unwrap().get("sso_region").unwrap().text, "d");
        let url = profiles.services("local").unwrap().nested("pinpoint", "endpoint_url").unwrap();
        assert!(url.position.to_string().ends_with(".aws/config, line 11"), "{}", url.position);
    }

    #[test]
    fn a_profile_that_is_missing_is_named_with_the_cure() {
        let home = home("[mine]\nregion = a\n[profile other]\n", "[profile yours]\n");
        for (name, cure) in [
            ("mine", "config, line 1 has [mine], write [profile mine]"),
            ("yours", "credentials, line 1 has [profile yours], write [yours]"),
            ("none", "set it to one of these: other"),
        ] {
            let errors = read(&home, &[("AWS_PROFILE", name)]).unwrap_err();
            assert_eq!((errors[0].variable, errors[0].value.as_deref()), ("AWS_PROFILE", Some(name)));
            assert!(errors[0].problem.contains(cure), "{}", errors[0]);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_line() {
        let home = home("[default]\nregion = a\nrubbish\n", "");
        let errors = read(&home, &[]).unwrap_err();
        assert!(errors[0].problem.contains(".aws/config, line 3: the line is neither"), "{}", errors[0]);
        let errors = read(&home, &[("AWS_CONFIG_FILE", "~/.aws")]).unwrap_err();
        assert!(errors[0].problem.contains("name the file itself"), "{}", errors[0]);
    }

    #[test]
    fn a_file_that_is_missing_or_no_file_is_empty() {
        for path in ["", "  ", "/no/such/file", "/dev/null", "~/none"] {
            let home = tempfile::tempdir().unwrap();
            let profiles = read(&home, &[("AWS_CONFIG_FILE", path)]).unwrap();
            assert!(profiles.selected().is_none(), "{path}");
        }
        assert!(AwsEnvironment::of(&[]).read().unwrap().selected().is_none());
    }
}
