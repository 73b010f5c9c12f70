"""Who has access to acme: Alice invites, promotes, removes and takes it back; what she did not see stays."""

import re
import time

import pytest
import time_machine
from django.core import mail
from django.test import override_settings
from django_scopes import scopes_disabled

from accounts.models import Invitation, User
from conftest import Person, make_person
from events.models import Event
from tenants import actions
from tenants.models import Membership, Role

pytestmark = pytest.mark.django_db
MEMBERS = "/t/acme/members/"
#: Queries of the members page.
COST = 9


@pytest.fixture(autouse=True)
def every_tenant():
    with scopes_disabled():
        yield


@pytest.fixture
def mails_leave(django_capture_on_commit_callbacks):
    """Mails leave after the commit: run what waits for it."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def membership_of(person: Person) -> Membership | None:
    return Membership.objects.filter(user=person.user).first()


def address(person: Person, what: str) -> str:
    return f"{MEMBERS}{membership_of(person).pk}/{what}/"


def page(person: Person, url: str = MEMBERS) -> str:
    response = person.get(url)
    assert response.status_code == 200
    return response.content.decode()


def later(seconds: float) -> time_machine.travel:
    return time_machine.travel(time.time() + seconds)


def undo_token(html: str) -> str:
    return re.search(r'name="undo" value="([^"]+)"', html)[1]


# --- Seeing -----------------------------------------------------------------------------------------------------------


def test_alice_sees_who_has_access_in_which_role(alice, bob):
    html = page(alice)
    assert "bob@acme.example" in html
    assert "Tenant user" in html
    assert "Never" in html or "just now" in html
    assert "charlie@globex.example" not in html


def test_members_are_found_by_name_and_by_role(alice, bob):
    assert "bob@acme.example" not in page(alice, f"{MEMBERS}?show=admins")
    assert "bob@acme.example" in page(alice, f"{MEMBERS}?q=BOB")
    assert "Nobody has this in their name" in page(alice, f"{MEMBERS}?q=%00nobody")
    assert "everybody invited has set a password" in page(alice, f"{MEMBERS}?show=invited")


def test_a_large_company_is_read_page_by_page_and_nobody_twice(alice, acme):
    for number in range(120):
        person = make_person("Twin", f"twin{number}@acme.example")  # one name for all: the order still holds
        Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_USER)
    seen, url = [], MEMBERS
    while url:
        html = page(alice, url)
        seen += re.findall(r"[\w]+@acme\.example(?=</span></th>)", html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        url = MEMBERS + following[1] if following else None
    assert len(seen) == len(set(seen)) == 121


def test_a_full_page_of_invited_members_costs_as_many_queries_as_alice_alone(alice, acme, django_assert_num_queries):
    # Session, person, membership, her tenants; policies and memberships; the page, its invitations; the bell.
    with django_assert_num_queries(COST):
        page(alice)
    for number in range(60):
        person = make_person(f"Person {number}", f"person{number}@acme.example")
        Membership.objects.create(tenant=acme, user=person.user, role=Role.TENANT_USER)
        Invitation.objects.create(tenant_id=acme.pk, user=person.user)
    with django_assert_num_queries(COST):
        html = page(alice)
    assert html.count("@acme.example</span></th>") == 50


# --- Inviting ---------------------------------------------------------------------------------------------------------


def invite(alice: Person, email: str, **fields: str):
    return alice.post(f"{MEMBERS}invite/", {"email": email, "name": "", "role": "tenant_user", **fields}, follow=True)


def test_somebody_new_gets_a_link_and_stands_among_the_members_as_invited(alice, mails_leave):
    with mails_leave():
        response = invite(alice, "carol@acme.example", name="Carol")
    assert "Carol was told by mail" in response.content.decode()
    assert mail.outbox[0].to == ["carol@acme.example"]
    assert "/accounts/password/reset/key/" in mail.outbox[0].body
    assert "mail sent" in page(alice, f"{MEMBERS}?show=invited")


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_does_not_leave_is_said_and_can_be_sent_again(alice):
    with override_settings(EMAIL_BACKEND="portal.tests.test_members.NoMail"):
        response = invite(alice, "carol@acme.example", name="Carol")
    html = response.content.decode()
    assert "Carol is a member of Acme, but the mail could not be sent: the mail server is away." in html
    assert "Mail not sent: the mail server is away" in html
    carol = User.objects.get(email="carol@acme.example")
    response = alice.post(f"{MEMBERS}{carol.memberships.get().pk}/invite/", follow=True)
    html = response.content.decode()
    assert "Carol was told by mail" in html
    assert "Mail not sent" not in html
    assert len(mail.outbox) == 1


class NoMail:
    def __init__(self, *args, **kwargs):
        pass

    def send_messages(self, messages):
        raise OSError("the mail server is away")


def test_nobodys_mailbox_is_flooded_by_pressing_send_again(alice, mails_leave):
    with mails_leave():
        invite(alice, "carol@acme.example")
    carol = User.objects.get(email="carol@acme.example")
    with mails_leave():
        response = alice.post(f"{MEMBERS}{carol.memberships.get().pk}/invite/")
    assert response.status_code == 409
    assert "Nothing was sent now" in response.content.decode()
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    ("email", "words"),
    [
        ("bob@acme.example", "Bob is a member of Acme already"),
        ("not an address", "Enter a valid email address"),
        ("", "This field is required"),
    ],
)
def test_what_cannot_be_invited_is_said_at_the_field_and_nothing_changes(alice, bob, email, words):
    response = invite(alice, email, name="Somebody")
    html = response.content.decode()
    assert words in html
    assert 'id="error-summary" autofocus' in html
    assert "Nothing was changed, and no mail was sent." in html
    assert 'value="Somebody"' in html, "what was typed is kept"
    assert Membership.objects.count() == 2
    assert not Event.objects.exists()


# --- Roles ------------------------------------------------------------------------------------------------------------


def test_alice_makes_bob_an_admin_and_the_log_says_so(alice, bob):
    response = alice.post(address(bob, "role"), {"role": "tenant_admin", "version": 1}, follow=True)
    assert "Bob is a tenant admin now." in response.content.decode()
    assert Event.objects.get().summary == "Alice made Bob an admin of Acme"
    assert membership_of(bob).version == 2


def test_a_role_that_somebody_else_changed_meanwhile_is_not_overwritten(alice, bob, acme):
    html = page(alice)
    assert f'data-version="{membership_of(bob).version}"' in html
    actions.change_role(membership_of(bob), Role.TENANT_ADMIN, by=None)
    for what in ("role", "remove"):
        sent = {"role": "tenant_admin", "version": 1, "seen_role": "tenant_user"}
        response = alice.post(address(bob, what), sent)
        html = response.content.decode()
        assert response.status_code == 409
        assert "Bob&#x27;s role was changed since you opened the page. Nothing was changed now." in html
        assert "<td>Tenant user</td><td><strong>Tenant admin</strong></td>" in html
    assert membership_of(bob).role == Role.TENANT_ADMIN


def test_the_last_admin_stays(alice, bob):
    for what, data in (("role", {"role": "tenant_user"}), ("remove", {})):
        response = alice.post(address(alice, what), data)
        assert response.status_code == 409
        assert "Alice is the last admin of Acme. Nothing was changed" in response.content.decode()
    assert membership_of(alice).role == Role.TENANT_ADMIN


def test_a_role_that_is_none_changes_nothing(alice, bob):
    assert alice.post(address(bob, "role"), {"role": "emperor"}).status_code == 404
    assert membership_of(bob).role == Role.TENANT_USER


# --- Removing and undoing ---------------------------------------------------------------------------------------------


def test_removal_takes_effect_at_once_and_undo_joins_again_with_the_same_role(alice, bob, acme):
    actions.change_role(membership_of(bob), Role.TENANT_ADMIN, by=None)
    generation = bob.user.access_generation
    response = alice.post(address(bob, "remove"), {"version": 2}, follow=True)
    html = response.content.decode()
    assert "Bob was removed from Acme." in html
    assert membership_of(bob) is None
    assert bob.get("/t/acme/").status_code == 404
    bob.user.refresh_from_db()
    assert bob.user.access_generation == generation + 1

    response = alice.post(f"{MEMBERS}undo/", {"undo": undo_token(html)}, follow=True)
    assert "Bob is a tenant admin of Acme again." in response.content.decode()
    assert membership_of(bob).role == Role.TENANT_ADMIN
    assert bob.get("/t/acme/").status_code == 200
    assert Event.objects.order_by("-id").first().summary == "Alice added Bob to Acme"


def test_undo_is_offered_for_ten_seconds_and_taken_a_little_longer(alice, bob):
    response = alice.post(address(bob, "remove"))
    url, token = response["Location"], undo_token(page(alice, response["Location"]))
    with later(12):
        assert "was removed from" not in page(alice, url)
    with later(70):
        response = alice.post(f"{MEMBERS}undo/", {"undo": token})
    assert response.status_code == 409
    assert "too late to undo" in response.content.decode()
    assert membership_of(bob) is None


def test_an_undo_is_for_who_removed_and_for_that_tenant_only(alice, bob, charlie, globex, acme):
    token = undo_token(page(alice, alice.post(address(bob, "remove"))["Location"]))
    dora = make_person("Dora", "dora@acme.example")
    Membership.objects.create(tenant=acme, user=dora.user, role=Role.TENANT_ADMIN)
    Membership.objects.create(tenant=globex, user=alice.user, role=Role.TENANT_ADMIN)
    for person, slug, undo in ((dora, "acme", token), (alice, "globex", token), (alice, "acme", token + "x")):
        assert person.post(f"/t/{slug}/members/undo/", {"undo": undo}).status_code == 409
    assert membership_of(bob) is None


def test_who_was_removed_meanwhile_is_no_longer_there_and_that_is_said(alice, bob):
    url = address(bob, "role")
    actions.remove_member(membership_of(bob), by=None)
    response = alice.post(url, {"role": "tenant_admin", "version": 1})
    assert response.status_code == 409
    assert "That person is no longer a member of Acme. Nothing was changed now." in response.content.decode()


def test_another_tenants_member_cannot_be_told_from_one_that_never_was(alice, charlie):
    for what in ("role", "remove", "invite"):
        answers = []
        for number in (membership_of(charlie).pk, 999999):
            response = alice.post(f"{MEMBERS}{number}/{what}/", {"role": "tenant_user"})
            assert response.status_code == 409
            html = response.content.decode().replace(f"members/{number}/", "members/N/")
            answers.append(re.sub(r'(csrfmiddlewaretoken" value|csrf-token" content)="\w+"', "", html))
        assert answers[0] == answers[1]
    assert alice.get(f"{MEMBERS}{membership_of(charlie).pk}/remove/").status_code == 404
    assert membership_of(charlie)


def test_leaving_says_first_what_it_means_and_then_leads_home(alice, bob):
    actions.change_role(membership_of(bob), Role.TENANT_ADMIN, by=None)
    assert f'href="{address(alice, "remove")}"' in page(alice), "her own row asks first"
    html = page(alice, address(alice, "remove"))
    assert "You lose access at once, and can't undo it yourself" in html
    response = alice.post(address(alice, "remove"), {"version": 1}, follow=True)
    assert "You left Acme." in response.content.decode()
    assert alice.get("/t/acme/").status_code == 404


def test_an_invitation_that_is_revoked_and_taken_back_needs_no_second_mail(alice, mails_leave):
    with mails_leave():
        invite(alice, "carol@acme.example", name="Carol")
        assert "Revoke" in page(alice)
        carol = User.objects.get(email="carol@acme.example").memberships.get()
        response = alice.post(f"{MEMBERS}{carol.pk}/remove/", {"version": 1}, follow=True)
        alice.post(f"{MEMBERS}undo/", {"undo": undo_token(response.content.decode())})
    assert Membership.objects.filter(user__email="carol@acme.example").exists()
    assert Invitation.objects.count() == len(mail.outbox) == 1
