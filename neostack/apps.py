from django.apps import AppConfig


class NeostackConfig(AppConfig):
    name = "neostack"
