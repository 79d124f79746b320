"""Text as a frozen encoder sees it."""
