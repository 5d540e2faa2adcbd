//! Rules about the source that can be kept by reading it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use quote::ToTokens as _;
use syn::{
    Attribute, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// Every Rust file of `src`, with its path from there.
fn files() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 100, "{} files are too few to be all", found.len());
    found
}

/// The same with the lines that are code, up to the tests in the file.
fn sources() -> Vec<(String, String)> {
    let code = |text: String| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
        code.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    files().into_iter().map(|(name, text)| (name, code(text))).collect()
}

/// The files whose code holds the text.
fn users(text: &str) -> Vec<String> {
    let mut users: Vec<_> =
        sources().into_iter().filter(|(_, code)| code.contains(text)).map(|(name, _)| name).collect();
    users.sort();
    users
}

#[test]
fn each_outside_crate_has_its_one_user() {
    for (text, allowed) in [
        ("reqwest::", &["pinpoint/send.rs", "pinpoint/transport.rs"][..]),
        ("aws_sigv4::", &["pinpoint/sign.rs"]),
        ("aws_config::", &["pinpoint/credentials/chain.rs", "pinpoint/credentials/provider_error.rs"]),
        ("aws_sdk_sts::", &["pinpoint/credentials/provider_error.rs", "pinpoint/credentials/sts.rs"]),
        ("envy::", &["config/environment.rs", "config/settings.rs"]),
        ("flate2::", &["metrics/deflate.rs", "pinpoint/send.rs"]),
        ("prometheus::", &["exporter/error.rs", "metrics/telemetry.rs"]),
        ("hyper_util::", &["cli/healthcheck.rs", "web/connection.rs"]),
        ("lexopt::", &["cli/mod.rs"]),
        ("bcrypt::", &["web/passwords.rs", "web/config/file.rs"]),
        ("saphyr_parser::", &["web/config/document.rs"]),
        ("tokio_rustls::", &["cli/healthcheck.rs", "web/connection.rs", "web/tls.rs"]),
        ("webpki::", &["pinpoint/trust.rs", "web/config/client_certificates.rs"]),
        ("x509_cert::", &["web/config/certificate.rs", "web/config/client_certificates.rs"]),
        ("SystemTime::now", &["model/clock.rs"]),
        ("std::env", &[]),
    ] {
        let users = users(text);
        assert!(users.iter().all(|user| allowed.contains(&user.as_str())), "{text} is used by {users:?}");
    }
    assert_eq!(users("reqwest::").len(), 2, "the rule above finds what it looks for");
}

#[test]
fn each_dependency_says_what_it_is_for() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines: Vec<_> = rest.lines().take_while(|line| !line.is_empty()).collect();
    assert!(lines.len() > 40, "{} are too few to be all", lines.len());
    let silent: Vec<_> = lines.iter().filter(|line| !line.contains(" # ")).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn only_retries_and_the_queue_of_requests_sleep_in_the_client() {
    let users: Vec<_> = users("sleep").into_iter().filter(|name| name.starts_with("pinpoint/")).collect();
    // The sources of credentials name the sleep that AWS's clients use.
    assert_eq!(
        users,
        [
            "pinpoint/credentials/chain.rs",
            "pinpoint/credentials/sts.rs",
            "pinpoint/rate_limit.rs",
            "pinpoint/retry.rs"
        ]
    );
}

/// The folders and files at the top of `src`, from the bottom up: each imports only from those before it.
const LAYERS: [&str; 11] = [
    "model",
    "suggest",
    "file_watch",
    "web",
    "config",
    "pinpoint",
    "metrics",
    "collect",
    "status",
    "exporter",
    "cli",
];

#[test]
fn each_module_imports_only_from_layers_below_and_never_in_a_circle() {
    let graph = Graph::of(&files());
    assert!(graph.imports.values().map(BTreeSet::len).sum::<usize>() > 200, "too few imports to be all");
    assert_eq!(graph.violations(), Vec::<String>::new());
}

#[test]
fn an_import_from_above_or_in_a_circle_is_found_however_it_is_written() {
    let violations = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect();
        Graph::of(&files).violations()
    };
    let modules =
        [("model/mod.rs", ""), ("model/job.rs", ""), ("collect/mod.rs", ""), ("collect/entry.rs", "")];
    let with = |name: &'static str, code: &'static str| {
        let others = modules.into_iter().filter(|(other, _)| *other != name);
        violations(&others.chain([(name, code)]).collect::<Vec<_>>())
    };
    for code in [
        "use crate::collect::Entry;",
        "use crate::{model::{clock, job}, collect::{self, entry::Entry}};",
        "use super::super::collect::entry as other;",
        "pub use crate::collect::*;",
        "fn f() -> crate::collect::entry::Entry { crate::collect::new() }",
        "fn f() { use crate::collect::Entry; }",
    ] {
        let found = with("model/job.rs", code);
        assert!(
            found.iter().any(|found| found.starts_with("model::job imports collect")),
            "{code}: {found:?}"
        );
    }
    let circle = with("collect/entry.rs", "use super::{State, other};");
    assert_eq!(circle, Vec::<String>::new(), "the folder's own file does not import the entry");
    let circle = violations(&[
        ("collect/mod.rs", "use self::entry::Entry;"),
        ("collect/entry.rs", "use super::State;"),
    ]);
    assert_eq!(circle, ["collect and collect::entry import each other in a circle"]);
    let unknown = violations(&[("helpers.rs", "")]);
    assert_eq!(unknown, ["helpers has no place in LAYERS"]);
    let in_tests = "#[cfg(test)] mod tests { use crate::collect::Entry; }";
    assert_eq!(with("model/job.rs", in_tests), Vec::<String>::new(), "tests may import anything");
}

/// Which module imports which, by their paths from `src`.
#[derive(Default)]
struct Graph {
    modules: BTreeSet<String>,
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(files: &[(String, String)]) -> Self {
        let module = |name: &str| {
            let path = name.strip_suffix(".rs").unwrap().replace('/', "::");
            path.strip_suffix("::mod").map(str::to_owned).unwrap_or(path)
        };
        let files = files.iter().filter(|(name, _)| !matches!(name.as_str(), "main.rs" | "lib.rs"));
        let files: Vec<_> = files.map(|(name, code)| (module(name), code)).collect();
        let mut graph =
            Self { modules: files.iter().map(|(module, _)| module.clone()).collect(), ..Self::default() };
        for (module, code) in files {
            let mut paths = Paths::default();
            paths.visit_file(&syn::parse_file(code).unwrap());
            let imported = paths.0.iter().filter_map(|path| graph.resolve(&module, path));
            let imported = imported.filter(|other| *other != module).collect();
            graph.imports.insert(module, imported);
        }
        graph
    }

    /// The module in which the path ends or whose item it names.
    fn resolve(&self, module: &str, path: &[String]) -> Option<String> {
        let mut place: Vec<&str> = module.split("::").collect();
        let mut rest = path.iter().map(String::as_str).peekable();
        match rest.next()? {
            "crate" => place.clear(),
            "self" => {}
            "super" => {
                place.pop();
                while rest.next_if_eq(&"super").is_some() {
                    place.pop();
                }
            }
            _ => return None,
        }
        place.extend(rest);
        (1..=place.len())
            .rev()
            .map(|length| place[..length].join("::"))
            .find(|path| self.modules.contains(path))
    }

    fn violations(&self) -> Vec<String> {
        let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
        let layer = |module: &str| LAYERS.iter().position(|layer| *layer == top(module));
        let mut found = Vec::new();
        for module in self.modules.iter().filter(|module| layer(module).is_none()) {
            found.push(format!("{module} has no place in LAYERS"));
        }
        for (module, imports) in &self.imports {
            for import in imports.iter().filter(|import| layer(import) > layer(module)) {
                found.push(format!("{module} imports {import}, which is above it"));
            }
        }
        for (module, imports) in &self.imports {
            for import in imports.iter().filter(|import| *import > module && self.reaches(import, module)) {
                if self.reaches(module, import) {
                    found.push(format!("{module} and {import} import each other in a circle"));
                }
            }
        }
        found
    }

    /// Whether `from` imports `to`, directly or through others.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for import in self.imports.get(module).into_iter().flatten() {
                if import == to {
                    return true;
                }
                if seen.insert(import) {
                    next.push(import);
                }
            }
        }
        false
    }
}

/// Every path in the code that is not for tests, with grouped imports taken apart.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
            UseTree::Name(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Rename(rename) => self.0.push(with(rename.ident.to_string())),
            UseTree::Glob(_) => self.0.push(before.to_vec()),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let is_test = |attribute: &Attribute| attribute.to_token_stream().to_string().contains("cfg (test)");
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

#[test]
fn only_known_places_read_texts_from_outside_without_the_mask() {
    // They read dates, numbers, the name of an exception, and the origin of a redirect.
    let known = ["pinpoint/error.rs", "pinpoint/intermediary.rs", "pinpoint/mod.rs", "pinpoint/secrets.rs"];
    assert_eq!(users("unmasked()"), known[..3]);
    assert_eq!(users("fn unmasked("), known[3..]);
}

#[test]
fn main_is_short() {
    let main = include_str!("../../src/main.rs");
    assert!(main.lines().count() <= 80, "{} lines", main.lines().count());
}

#[test]
fn the_compiler_forbids_unsafe_code_in_every_crate() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let members: Vec<String> = serde_json::from_str(members).unwrap();
    for member in members.iter().map(String::as_str).chain(["."]) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{member} has no lints of the workspace");
    }
}
