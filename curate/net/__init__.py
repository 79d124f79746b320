"""Transport: public addresses only, politeness per host, the answer cache."""
