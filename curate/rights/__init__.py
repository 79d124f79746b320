"""Licences, opt-outs, policies, credits."""
