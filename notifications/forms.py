from django import forms

from notifications.models import Level


class NoticeForm(forms.Form):
    """What to tell everybody in a tenant. `notice_id` is made with the form, so that sending it twice sends it once."""

    title = forms.CharField(max_length=150)
    message = forms.CharField(
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Everybody in the company sees it at once and finds it in their inbox.",
    )
    level = forms.ChoiceField(choices=Level.choices)
    notice_id = forms.UUIDField(widget=forms.HiddenInput)
