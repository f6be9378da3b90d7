//! Which files are tests of a file, by what languages and their runners call them.

/// Endings of one language, which tests of each other.
const FAMILIES: [&[&str]; 7] = [
    &["go"],
    &["py"],
    &["js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"],
    &["java", "kt", "scala", "groovy"],
    &["rb"],
    &["rs"],
    &["cs"],
];

/// Folders of tests, and of what they compare with.
const TEST_FOLDERS: [&str; 9] =
    ["test", "tests", "__tests__", "spec", "testdata", "unittests", "e2e", "__snapshots__", "__mocks__"];

/// Whether `test` is, by its name, a test of `file`: of the same language, and named after it (`test_rounding.py`,
/// `rounding.spec.ts`, `RoundingTest.java`, `__tests__/rounding.js`). Go's tests are those of the package's folder.
pub(super) fn is_test_of(test: &str, file: &str) -> bool {
    let ((test_folder, test_name), (folder, name)) = (split(test), split(file));
    let (Some((test_stem, test_ending)), Some((stem, ending))) = (test_name.rsplit_once('.'), name.rsplit_once('.'))
    else {
        return false;
    };
    let is_one_language = FAMILIES.iter().any(|family| family.contains(&test_ending) && family.contains(&ending));
    if !is_one_language {
        return false;
    }
    if ending == "go" {
        return test_stem.ends_with("_test") && test_folder == folder;
    }
    named_after(test_stem)
        .chain(Some(test_stem).filter(|_| is_in(test_folder, &["__tests__"])))
        .any(|name| name == stem)
}

/// Whether a file is, by its name or its folder, one of the tests, or what they compare with.
pub(crate) fn is_test(path: &str) -> bool {
    let (folder, name) = split(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    is_in(folder, &TEST_FOLDERS) || named_after(stem).any(|name| !name.is_empty())
}

/// The names of what a file would test by its own name.
fn named_after(test_stem: &str) -> impl Iterator<Item = &str> {
    let tested = [
        test_stem.strip_prefix("test_"),
        test_stem.strip_suffix("_test"),
        test_stem.strip_suffix("_spec"),
        test_stem.strip_suffix(".test"),
        test_stem.strip_suffix(".spec"),
        test_stem.strip_suffix("Test"),
        test_stem.strip_suffix("Tests"),
        test_stem.strip_suffix("IT"),
        test_stem.strip_suffix("Spec"),
        test_stem.strip_prefix("Test"),
    ];
    tested.into_iter().flatten()
}

/// Whether a folder is one of these or lies below one.
fn is_in(folder: &str, names: &[&str]) -> bool {
    folder.split('/').any(|part| names.contains(&part))
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests are known by the habits of their language; a file that only lies near, or has a name like it, is none.
    #[test]
    fn tests_are_known_by_their_names() {
        for (test, file) in [
            ("payments/rounding_test.go", "payments/rounding.go"),
            ("payments/all_test.go", "payments/rounding.go"),
            ("tests/test_checkout.py", "shop/checkout.py"),
            ("shop/checkout_test.py", "shop/checkout.py"),
            ("web/cart.spec.ts", "web/cart.js"),
            ("web/__tests__/cart.js", "web/cart.js"),
            ("src/test/java/com/acme/OrdersTest.java", "src/main/java/com/acme/Orders.java"),
        ] {
            assert!(is_test_of(test, file), "{test} is a test of {file}");
            assert!(is_test(test) && !is_test(file), "{test} is a test, and {file} none");
        }
        for (test, file) in [
            ("other/rounding_test.go", "payments/rounding.go"),
            ("payments/rounding.go", "payments/rounding.go"),
            ("tests/test_cart.py", "shop/checkout.py"),
            ("tests/test_checkout.js", "shop/checkout.py"),
            ("tests/checkout.py", "shop/checkout.py"),
            ("test_checkout", "shop/checkout.py"),
            ("conftest.py", "shop/checkout.py"),
        ] {
            assert!(!is_test_of(test, file), "{test} is no test of {file}");
        }
    }
}
