create table users (
  id            integer primary key,
  email         text not null unique,        -- in lower case
  password_hash text not null,
  nickname      text not null,
  login_count   integer not null default 0,
  last_login_at text,
  created_at    text not null                -- RFC 3339, UTC: sorts as it reads
);

create table orders (
  id         integer primary key,
  order_no   text not null unique,
  user_id    integer not null references users (id),
  product    text not null,
  amount     integer not null check (amount > 0),  -- in the currency's smallest unit
  currency   text not null,
  state      text not null check (state in ('PENDING', 'PAID', 'EXPIRED', 'CANCELLED')),
  created_at text not null,
  expires_at text not null
);

create index orders_of_a_user on orders (user_id, created_at, id);

-- What the application keeps about itself, such as the key that development signs tokens with.
create table settings (
  name  text primary key,
  value text not null
);
