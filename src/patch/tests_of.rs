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
        Some(test_stem).filter(|_| test_folder.split('/').any(|part| part == "__tests__")),
    ];
    tested.into_iter().flatten().any(|tested| tested == stem)
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
