# same
"""A trigger with its function, whose body names a table."""

from alembic import op


def upgrade():
    op.execute("""
        CREATE FUNCTION greet() RETURNS trigger LANGUAGE plpgsql AS $body$
        BEGIN
            -- ; COMMIT;
            NEW.name := coalesce(NEW.name, 'nobody') || ' ' || (SELECT count(*) FROM people);
            RETURN NEW;
        END $body$
    """)
    op.execute("CREATE TRIGGER greet BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION greet()")
    op.execute("INSERT INTO people (name) VALUES ('late')")
