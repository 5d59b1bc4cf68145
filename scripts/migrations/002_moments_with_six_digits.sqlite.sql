-- Moments had three digits of a second once; as texts they only sort when all have as many.
update users set created_at = replace(created_at, 'Z', '000Z') where length(created_at) = 24;
update users set last_login_at = replace(last_login_at, 'Z', '000Z') where length(last_login_at) = 24;
update orders set created_at = replace(created_at, 'Z', '000Z') where length(created_at) = 24;
update orders set expires_at = replace(expires_at, 'Z', '000Z') where length(expires_at) = 24;
