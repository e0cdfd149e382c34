//! Finds wildcard arms in `match` expressions over given enums: `_`, or a name for the whole that is at most printed.
//! A name that is passed on does not count, because the function that takes it can be exhaustive. An arm with a guard
//! does not count either, nor one that panics, because it does not pass in silence.
//!
//! Clippy's `wildcard_enum_match_arm` would need no code here, but it applies to every enum of every crate and sees
//! only the outermost pattern. This check is by name: a `match` is over `Command` if one of its patterns is
//! `Command::…`. It looks at nested patterns and inside macros too.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proc_macro2::TokenStream;
use syn::parse::{ParseStream, Parser};
use syn::visit::{self, Visit};
use syn::{Expr, FieldPat, Member, Pat, PatIdent, Path};

use super::sources;

/// The enums that a file's `match` expressions are over.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// Each wildcard arm over one of the enums: the enum and the function that contains it.
    pub(crate) wildcards: Vec<String>,
    /// The enums that were matched without one.
    pub(crate) exhaustive: BTreeSet<String>,
}

/// Checks a file.
pub(crate) fn find(file: &syn::File, enums: &[&str]) -> Matches {
    let mut finder = Finder { enums, self_type: String::new(), function: String::new(), found: Matches::default() };
    finder.visit_file(file);
    finder.found
}

struct Finder<'a> {
    enums: &'a [&'a str],
    self_type: String,
    function: String,
    found: Matches,
}

/// A pattern of an arm.
#[derive(Clone)]
struct ArmPattern {
    pattern: Pat,
    /// The arm has a guard or panics.
    is_harmless: bool,
    /// The names that the arm's body passes on.
    passed_on: Rc<BTreeSet<String>>,
}

impl ArmPattern {
    fn with(&self, pattern: &Pat) -> Self {
        Self { pattern: pattern.clone(), ..self.clone() }
    }

    /// Splits alternatives, and removes parentheses, references and names of the whole (`name @ pattern`).
    fn flatten(&self, flat: &mut Vec<Self>) {
        match &self.pattern {
            Pat::Or(or) => or.cases.iter().for_each(|case| self.with(case).flatten(flat)),
            Pat::Paren(paren) => self.with(&paren.pat).flatten(flat),
            Pat::Reference(reference) => self.with(&reference.pat).flatten(flat),
            Pat::Ident(PatIdent { subpat: Some((_, inner)), .. }) => self.with(inner).flatten(flat),
            _ => flat.push(self.clone()),
        }
    }

    fn is_wildcard(&self) -> bool {
        let is_wildcard = match &self.pattern {
            Pat::Wild(_) | Pat::Rest(_) => true,
            Pat::Ident(name) => {
                let name = name.ident.to_string();
                // An upper-case name is a constant or an imported variant.
                !name.starts_with(char::is_uppercase) && !self.passed_on.contains(&name)
            }
            Pat::Tuple(tuple) => tuple.elems.iter().all(|element| self.with(element).is_wildcard()),
            _ => false,
        };
        is_wildcard && !self.is_harmless
    }

    /// Returns the fields of a variant's pattern by variant and field.
    fn fields(&self) -> Vec<((String, String), Self)> {
        let variant = |path: &Path| path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        match &self.pattern {
            Pat::TupleStruct(pattern) => {
                let key = |index: usize| (variant(&pattern.path), index.to_string());
                pattern.elems.iter().enumerate().map(|(index, element)| (key(index), self.with(element))).collect()
            }
            Pat::Struct(pattern) => {
                let member = |field: &FieldPat| match &field.member {
                    Member::Named(name) => name.to_string(),
                    Member::Unnamed(index) => index.index.to_string(),
                };
                let key = |field: &FieldPat| (variant(&pattern.path), member(field));
                pattern.fields.iter().map(|field| (key(field), self.with(&field.pat))).collect()
            }
            _ => vec![],
        }
    }
}

impl Finder<'_> {
    fn check_arms(&mut self, expression: &syn::ExprMatch) {
        let patterns: Vec<_> = expression
            .arms
            .iter()
            .map(|arm| {
                let mut names = Names::default();
                names.visit_expr(&arm.body);
                let is_harmless = arm.guard.is_some() || is_panic(&arm.body);
                ArmPattern { pattern: arm.pat.clone(), is_harmless, passed_on: Rc::new(names.0) }
            })
            .collect();
        self.check(&patterns);
    }

    /// Checks the patterns at one position of all arms, then those inside them.
    fn check(&mut self, patterns: &[ArmPattern]) {
        let mut flat = Vec::new();
        patterns.iter().for_each(|pattern| pattern.flatten(&mut flat));
        let (mut enums, mut inner) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
        for pattern in &flat {
            self.add_enums(pattern, &mut enums);
            pattern.fields().into_iter().for_each(|(key, field)| inner.entry(key).or_default().push(field));
        }
        let has_wildcard = flat.iter().any(ArmPattern::is_wildcard);
        for name in enums {
            if has_wildcard {
                self.found.wildcards.push(format!("{name} in fn {}", self.function));
            } else {
                self.found.exhaustive.insert(name);
            }
        }
        inner.into_values().for_each(|patterns| self.check(&patterns));
    }

    /// Adds the enums that a pattern names: of a tuple, those of all its elements.
    fn add_enums(&self, pattern: &ArmPattern, enums: &mut BTreeSet<String>) {
        match &pattern.pattern {
            Pat::Path(path) => enums.extend(self.enum_of(&path.path)),
            Pat::Struct(pattern) => enums.extend(self.enum_of(&pattern.path)),
            Pat::TupleStruct(pattern) => enums.extend(self.enum_of(&pattern.path)),
            Pat::Tuple(tuple) => {
                let mut flat = Vec::new();
                tuple.elems.iter().for_each(|element| pattern.with(element).flatten(&mut flat));
                flat.iter().for_each(|element| self.add_enums(element, enums));
            }
            _ => {}
        }
    }

    fn enum_of(&self, path: &Path) -> Option<String> {
        let name = path.segments.iter().nth_back(1)?.ident.to_string();
        let name = if name == "Self" { self.self_type.clone() } else { name };
        self.enums.contains(&name.as_str()).then_some(name)
    }

    /// Macro bodies are tokens: parses a `match` wherever the word appears.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut found = Vec::new();
        sources::each_group(tokens, &mut |trees| {
            for index in 0..trees.len() {
                if sources::ident(trees.get(index)).as_deref() == Some("match") {
                    let prefix = |input: ParseStream<'_>| {
                        let expression = input.parse::<syn::ExprMatch>();
                        input.parse::<TokenStream>()?;
                        expression
                    };
                    found.extend(prefix.parse2(trees[index..].iter().cloned().collect()));
                }
            }
        });
        found.iter().for_each(|expression| self.check_arms(expression));
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*item.self_ty {
            self.self_type = path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.function = signature.ident.to_string();
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.check_arms(expression);
        visit::visit_expr_match(self, expression);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.read_tokens(invocation.tokens.clone());
    }
}

fn is_panic(body: &Expr) -> bool {
    let Expr::Macro(call) = body else { return false };
    call.mac.path.is_ident("panic") || call.mac.path.is_ident("unreachable")
}

/// The variables that an expression names, outside macros.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_path(&mut self, path: &'ast Path) {
        self.0.extend(path.get_ident().map(ToString::to_string));
    }

    fn visit_macro(&mut self, _: &'ast syn::Macro) {}
}
