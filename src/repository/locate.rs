//! Which file of a repository a stack means. Stacks name files as the build or the machine saw them.

use std::collections::{BTreeMap, HashMap};

use super::git::{Commit, Kind, RepositoryError};

/// Bytes of a `go.mod` that is read.
const MAX_MODULE_FILE: u64 = 1 << 20;
/// Endings of files whose stacks name a package and no folder.
const OF_PACKAGES: [&str; 4] = [".java", ".kt", ".scala", ".groovy"];

/// A beginning of names in stacks, and what stands for it in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub from: String,
    pub to: String,
}

/// How a file was found; the first that fits is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By a prefix that was configured.
    Prefix,
    /// The stack names it by its path.
    Path,
    /// By the name of a Go module.
    Module,
    /// By a Java package.
    Package,
    /// All of its path ends the stack's name, or its last folders do.
    Suffix,
    /// Nothing but the name of the file agrees, and there is one of that name.
    Name,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    One {
        path: String,
        how: How,
    },
    /// Several fit equally well.
    Several(Vec<String>),
    Nowhere,
}

/// Finds files in one commit.
#[derive(Debug)]
pub(crate) struct Locator<'a> {
    /// Paths of files by their last part.
    by_name: HashMap<&'a str, Vec<&'a str>>,
    /// Go modules by name, with their folder.
    modules: BTreeMap<String, String>,
    prefixes: &'a [Prefix],
}

impl<'a> Locator<'a> {
    /// For the files of a commit.
    ///
    /// # Errors
    /// When a `go.mod` cannot be read.
    pub(crate) fn new(commit: &'a Commit, prefixes: &'a [Prefix]) -> Result<Self, RepositoryError> {
        let mut by_name: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut modules = BTreeMap::new();
        for (path, entry) in commit.files.iter().filter(|(_, entry)| entry.kind == Kind::File) {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            by_name.entry(name).or_default().push(path);
            if name == "go.mod" && entry.size <= MAX_MODULE_FILE {
                let text = commit.read(entry)?;
                if let Some(module) = module_of(&String::from_utf8_lossy(&text)) {
                    modules.insert(module, folder.to_owned());
                }
            }
        }
        Ok(Self { by_name, modules, prefixes })
    }

    /// The file that a frame names.
    pub(crate) fn find(&self, file: &str, function: Option<&str>) -> Place {
        let file = normal(file);
        let by_rule = [
            (How::Prefix, self.by_prefix(&file)),
            (How::Path, Some(file.clone())),
            (How::Module, self.by_module(&file, function)),
        ];
        for (how, path) in by_rule {
            if let Some(path) = path.filter(|path| self.has(path)) {
                return Place::One { path, how };
            }
        }
        if let Some(path) = package_path(&file, function) {
            let (fits, matched) = self.ending_with(&path);
            if let Some(fits) = fits.filter(|_| matched == path.split('/').count()) {
                return place(fits, How::Package);
            }
        }
        let (Some(fits), matched) = self.ending_with(&file) else { return Place::Nowhere };
        let is_whole = |path: &&str| path.split('/').count() == matched;
        // `main.go` in the root is all that `/app/main.go` can mean, whatever else has its name.
        let whole: Vec<&str> = fits.iter().copied().filter(is_whole).collect();
        match (whole.is_empty(), matched, file.split('/').count()) {
            (false, ..) => place(whole, How::Suffix),
            // A bare name cannot agree in more.
            (true, 1, 2..) => place(fits, How::Name),
            _ => place(fits, How::Suffix),
        }
    }

    fn has(&self, path: &str) -> bool {
        self.by_name.get(name_of(path)).is_some_and(|paths| paths.contains(&path))
    }

    fn by_prefix(&self, file: &str) -> Option<String> {
        let fitting = self.prefixes.iter().filter_map(|prefix| Some((prefix, below(file, &prefix.from)?)));
        let (prefix, rest) = fitting.min_by_key(|(_, rest)| rest.len())?;
        Some(normal(&format!("{}/{rest}", prefix.to)))
    }

    /// A build with `-trimpath` names files by their module; otherwise the function has the package's path.
    fn by_module(&self, file: &str, function: Option<&str>) -> Option<String> {
        if !file.ends_with(".go") {
            return None;
        }
        let package = function.and_then(package_of_go).map(|package| format!("{package}/{}", name_of(file)));
        let mut candidates = std::iter::once(file.to_owned()).chain(package);
        let in_module = |path: String| {
            let within =
                |(module, folder): (&String, &String)| Some((module.len(), join(folder, below(&path, module)?)));
            let longest = self.modules.iter().filter_map(within).max()?;
            Some(longest.1).filter(|path| self.has(path))
        };
        candidates.find_map(in_module)
    }

    /// The paths that agree with a name in the most last parts, and in how many.
    fn ending_with(&self, file: &str) -> (Option<Vec<&'a str>>, usize) {
        let Some(paths) = self.by_name.get(name_of(file)) else { return (None, 0) };
        let agree = |path: &str| path.rsplit('/').zip(file.rsplit('/')).take_while(|(one, other)| one == other).count();
        let most = paths.iter().map(|path| agree(path)).max().unwrap_or_default();
        (Some(paths.iter().copied().filter(|path| agree(path) == most).collect()), most)
    }
}

fn place(fits: Vec<&str>, how: How) -> Place {
    match fits.as_slice() {
        [] => Place::Nowhere,
        [path] => Place::One { path: (*path).to_owned(), how },
        _ => Place::Several(fits.into_iter().map(str::to_owned).collect()),
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn join(folder: &str, rest: &str) -> String {
    if folder.is_empty() { rest.to_owned() } else { format!("{folder}/{rest}") }
}

/// What stands below a folder; all of a path stands below no folder.
fn below<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    match folder.trim_matches('/') {
        "" => Some(file),
        folder => file.strip_prefix(folder)?.strip_prefix('/'),
    }
}

/// Forward slashes, no scheme, no query, no `.` and `..`.
fn normal(file: &str) -> String {
    let file = file.replace('\\', "/");
    let file = file.split_once("://").map_or(file.as_str(), |(_, path)| path);
    let file = file.split(['?', '#']).next().unwrap_or_default();
    let mut parts: Vec<&str> = Vec::new();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The name in a `go.mod`.
fn module_of(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("module"))?;
    let name = line.split("//").next()?.trim().trim_matches(['"', '`']);
    (line.starts_with(char::is_whitespace) && !name.is_empty()).then(|| name.to_owned())
}

/// `example.com/shop/payments` of `example.com/shop/payments.(*Ledger).Round`.
fn package_of_go(function: &str) -> Option<String> {
    let (folders, last) = function.rsplit_once('/').map_or((None, function), |(folders, last)| (Some(folders), last));
    let (package, _) = last.split_once('.')?;
    Some(folders.map_or_else(|| package.to_owned(), |folders| format!("{folders}/{package}")))
}

/// `com/acme/shop/Orders.java` of `Orders.java` and `com.acme.shop.Orders$Line.total`.
fn package_path(file: &str, function: Option<&str>) -> Option<String> {
    if file.contains('/') || !OF_PACKAGES.iter().any(|ending| file.ends_with(ending)) {
        return None;
    }
    // Before the last slash stand a class loader and a module.
    let function = name_of(function?);
    let (class, _method) = function.rsplit_once('.')?;
    let (package, _class) = class.split('$').next()?.rsplit_once('.')?;
    Some(format!("{}/{file}", package.replace('.', "/")))
}
