"""health and events"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def _moment(name: str) -> 'sa.Column[object]':
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _text(name: str) -> 'sa.Column[object]':
    return sa.Column(name, sa.String(), nullable=False, server_default='')


def _count(name: str) -> 'sa.Column[object]':
    return sa.Column(name, sa.Integer(), nullable=False, server_default='0')


def upgrade() -> None:
    with op.batch_alter_table('provider_config', schema=None) as batch_op:
        batch_op.add_column(sa.Column('probe_interval_seconds', sa.Integer(), nullable=True))
        batch_op.add_column(_text('hold_kind'))
        for name in ('hold_tries', 'stumbled', 'secret_noticed_days'):
            batch_op.add_column(_count(name))
    op.execute("UPDATE provider_config SET hold_kind = 'misconfigured' WHERE held_until IS NOT NULL")
    with op.batch_alter_table('client_secret', schema=None) as batch_op:
        batch_op.add_column(_moment('expires_at'))
    with op.batch_alter_table('life', schema=None) as batch_op:
        batch_op.add_column(_moment('probed_at'))
        batch_op.add_column(_text('doubt'))
        batch_op.add_column(_moment('consented_at'))
        batch_op.add_column(_count('noticed_days'))
        batch_op.add_column(sa.Column('site_scopes', sa.JSON(), nullable=True))
    # When the last consent was given was not kept; the first one is never too late a guess.
    op.execute('UPDATE life SET consented_at = connected_at')
    with op.batch_alter_table('event', schema=None) as batch_op:
        batch_op.add_column(_text('provider_config_id'))
    with op.batch_alter_table('outbox', schema=None) as batch_op:
        batch_op.add_column(_moment('first_attempt_at'))
        batch_op.add_column(_text('last_error'))
    # There was no endpoint to deliver to.
    op.execute('DELETE FROM outbox')
    waiting = sa.text('delivered_at IS NULL AND dead_at IS NULL')
    op.create_index(
        'ix_outbox_waiting', 'outbox', ['workspace_id', 'life_id'], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_table(
        'webhook_endpoint',
        sa.Column('workspace_id', sa.String(), nullable=False),
        sa.Column('url', sa.String(), nullable=False),
        sa.Column('refreshed', sa.Boolean(), nullable=False),
        sa.Column('secret_version', sa.Integer(), nullable=False),
        sa.Column('sealed_secret_1', sa.LargeBinary(), nullable=True),
        sa.Column('sealed_secret_2', sa.LargeBinary(), nullable=True),
        _moment('secret_2_retires_at'),
        sa.Column('failures', sa.Integer(), nullable=False),
        _moment('paused_until'),
        sa.Column('last_error', sa.String(), nullable=False),
        _moment('disabled_at'),
        sa.Column('revision', sa.Integer(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('workspace_id', name='pk_webhook_endpoint'),
    )
    op.create_table(
        'inbound_message',
        sa.Column('provider_config_id', sa.String(), nullable=False),
        sa.Column('message_id', sa.String(), nullable=False),
        sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('provider_config_id', 'message_id', name='pk_inbound_message'),
    )
    op.create_index('ix_inbound_message_received_at', 'inbound_message', ['received_at'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_outbox_waiting', table_name='outbox')
    op.drop_index('ix_inbound_message_received_at', table_name='inbound_message')
    op.drop_table('inbound_message')
    op.drop_table('webhook_endpoint')
    dropped = {
        'outbox': ('first_attempt_at', 'last_error'),
        'event': ('provider_config_id',),
        'life': ('probed_at', 'doubt', 'consented_at', 'noticed_days', 'site_scopes'),
        'client_secret': ('expires_at',),
        'provider_config': ('probe_interval_seconds', 'hold_kind', 'hold_tries', 'stumbled', 'secret_noticed_days'),
    }
    for table, columns in dropped.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.drop_column(column)
