"""Transport: public addresses only, rate limits per host, the answer cache."""
