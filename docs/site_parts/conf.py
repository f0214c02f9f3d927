"""Sphinx settings of the documentation site; `docs/build_site.py` puts this beside the pages."""

project = "llm_monitoring"
author = "The llm_monitoring maintainers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"
html_theme = "furo"
html_title = "llm_monitoring"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_search_summary = False  # would fetch, which a page opened from a file may not
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#005f96", "color-brand-content": "#005f96"},
    "dark_css_variables": {"color-brand-primary": "#7cc4ee", "color-brand-content": "#7cc4ee"},
}
myst_heading_anchors = 3
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing", "myst.header"]
