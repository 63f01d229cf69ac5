"""The demo: a small support company whose agents are scripts. Everything in it is done the way
anybody would do it; nothing is faked."""
